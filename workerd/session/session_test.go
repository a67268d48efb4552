package session

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

func TestASessionCarriesStateBothWays(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	auth := make(chan []string, 1)
	c.Nodes[0].OnSession(func(s sessiontest.Stream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		auth <- md.Get(reason.MetaAuthorization)
		return l.Serve(s)
	})
	w := start(t, c, nil)
	hello := next(t, l.Hellos, "the hello")
	if hello.Pool != "p" || hello.Name != "w" || string(hello.InstanceKey) != "key" || hello.Slots != 2 ||
		hello.HighestLease != 99 || hello.BootId == "" || !hello.Status.GetReady() || hello.Relay {
		t.Errorf("hello: %v", hello)
	}
	if got := next(t, auth, "the token"); len(got) != 1 || got[0] != "Bearer "+c.Capability(t).Token().Reveal() {
		t.Errorf("authorization: %d values", len(got))
	}

	if err := l.Send(&pb.NodeMessage{Grants: []*pb.Grant{{Lease: 7}}, Probe: &pb.Probe{Nonce: 42}}); err != nil {
		t.Fatal(err)
	}
	nextUp(t, l, "the probe's reply", func(m *pb.WorkerMessage) bool { return m.ProbeReply.GetNonce() == 42 })
	until(t, "the grant", func() bool {
		w.host.mu.Lock()
		defer w.host.mu.Unlock()
		return slices.Equal(w.host.grants, []uint64{7})
	})
	w.host.mu.Lock()
	w.host.running = []uint64{7}
	w.host.mu.Unlock()
	w.Started(7)
	nextUp(t, l, "started", func(m *pb.WorkerMessage) bool { return slices.Contains(m.Started, 7) })
	until(t, "a heartbeat that names the lease", func() bool {
		_, running := l.Beats()
		return slices.Equal(running, []uint64{7})
	})
	w.host.finish(w.Session, 7)
	nextUp(t, l, "the result", finishes(7))
	w.StatusChanged()
	nextUp(t, l, "the status", func(m *pb.WorkerMessage) bool { return m.Status.GetReady() })
}

func TestItFollowsARedirectToTheLeader(t *testing.T) {
	c := sessiontest.Start(t, 3)
	l := sessiontest.NewLeader(c.Addresses()...)
	c.Nodes[0].OnSession(sessiontest.Redirect(c.Nodes[2].Addr))
	c.Nodes[2].OnSession(l.Serve)
	w := start(t, c, nil, c.Nodes[0])
	next(t, l.Hellos, "a hello at the leader")
	link, err := w.WaitLink(t.Context())
	if err != nil || link.Addr != c.Nodes[2].Addr || link.Relay {
		t.Errorf("link: %+v, %v", link, err)
	}
}

func TestItSurvivesTheLeadersDeath(t *testing.T) {
	c := sessiontest.Start(t, 3)
	leaders := make([]*sessiontest.Leader, 3)
	for i := range leaders {
		leaders[i] = sessiontest.NewLeader(c.Addresses()...)
	}
	c.Nodes[0].OnSession(leaders[0].Serve)
	for _, follower := range c.Nodes[1:] {
		follower.OnSession(sessiontest.Redirect(c.Nodes[0].Addr))
	}
	w := start(t, c, nil, c.Nodes[0]) // it learns of the others from the welcome
	next(t, leaders[0].Hellos, "the first session")
	until(t, "the welcome", func() bool { return w.Link() != nil })
	w.host.mu.Lock()
	w.host.running = []uint64{5}
	w.host.mu.Unlock()
	for round := range 6 {
		old, now := round%3, (round+1)%3
		c.Nodes[old].Kill() // the others go on naming the dead one for a while
		other := (round + 2) % 3
		c.Nodes[now].OnSession(leaders[now].Serve)
		c.Nodes[other].OnSession(sessiontest.Redirect(c.Nodes[now].Addr))
		hello := next(t, leaders[now].Hellos, "a session with the new leader")
		if len(hello.Running) != 1 || hello.Running[0].Lease != 5 {
			t.Fatalf("round %d: hello says it runs %v", round, hello.Running)
		}
		c.Nodes[old].OnSession(sessiontest.Redirect(c.Nodes[now].Addr))
		c.Nodes[old].Start(t)
	}
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	if len(w.host.stops) != 0 {
		t.Errorf("stops: %v", w.host.stops)
	}
}

func TestItFollowsALeaderThatHandsOver(t *testing.T) {
	c := sessiontest.Start(t, 2)
	a, b := sessiontest.NewLeader(c.Addresses()...), sessiontest.NewLeader(c.Addresses()...)
	c.Nodes[0].OnSession(a.Serve)
	c.Nodes[1].OnSession(b.Serve)
	start(t, c, nil, c.Nodes[0])
	next(t, a.Hellos, "the first session")
	if err := a.Send(&pb.NodeMessage{Redirect: &pb.Redirect{Leader: c.Nodes[1].Addr, Why: "transferred"}}); err != nil {
		t.Fatal(err)
	}
	next(t, b.Hellos, "a session with the new leader")
}

func TestResultsAreSentUntilAcknowledged(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	c.Nodes[0].OnSession(l.Serve)
	w := start(t, c, func(s *Session) { s.timing.repeat = 100 * time.Millisecond })
	next(t, l.Hellos, "the hello")
	w.host.finish(w.Session, 3)
	nextUp(t, l, "the result", finishes(3))
	nextUp(t, l, "the result again, in the same session", finishes(3))
	c.Nodes[0].Kill()
	c.Nodes[0].Start(t)
	next(t, l.Hellos, "the second session")
	nextUp(t, l, "the result, in the next session", finishes(3))
	if err := l.Send(&pb.NodeMessage{FinishAcks: []*pb.FinishAck{{Lease: 3, Recorded: true}}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the acknowledgement", func() bool {
		w.host.mu.Lock()
		defer w.host.mu.Unlock()
		return len(w.host.results) == 0
	})
}

func TestManyResultsTravelTogether(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	w := start(t, c, nil)
	const n = 2000
	for lease := range uint64(n) {
		w.host.finish(w.Session, lease+1)
	}
	c.Nodes[0].OnSession(l.Serve)
	got, messages := 0, 0
	for got < n {
		m := nextUp(t, l, "results", func(m *pb.WorkerMessage) bool { return len(m.Finished) > 0 })
		got += len(m.Finished)
		messages++
	}
	if most := n/maxFinished + 1; messages > most {
		t.Errorf("%d messages, want at most %d", messages, most)
	}
}

func TestAWorkerOfAnotherClusterIsRefused(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	c.Nodes[0].OnSession(l.Serve)
	w := start(t, c, func(s *Session) { s.cluster = "another" })
	next(t, w.done, "the end")
	var refused *RefusedError
	if !errors.As(w.err, &refused) || refused.Reason != reason.WrongCluster || !strings.Contains(refused.Error(), "--state-dir") {
		t.Errorf("ended with %v", w.err)
	}
}

func TestARevokedWorkerGivesUpAndSaysWhy(t *testing.T) {
	c := sessiontest.Start(t, 2)
	c.Nodes[0].OnSession(sessiontest.Refuse(codes.Unauthenticated, reason.Unauthenticated, "the capability was revoked: ask for a new one"))
	c.Nodes[1].OnSession(sessiontest.Redirect(c.Nodes[0].Addr)) // it only shows the way
	w := start(t, c, nil)
	next(t, w.done, "the end")
	var refused *RefusedError
	if !errors.As(w.err, &refused) || refused.Reason != reason.Unauthenticated || !strings.Contains(refused.Error(), "ask for a new one") {
		t.Errorf("ended with %v", w.err)
	}
}

func TestARevocationEndsARunningSessionForGood(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	revoke := make(chan struct{})
	c.Nodes[0].OnSession(func(s sessiontest.Stream) error {
		p := &peeked{Stream: s}
		if _, err := p.peek(); err != nil {
			return err
		}
		if err := s.Send(&pb.NodeMessage{Welcome: l.Welcome}); err != nil {
			return err
		}
		<-revoke
		return sessiontest.Refuse(codes.Unauthenticated, reason.Unauthenticated, "the capability was revoked")(p)
	})
	w := start(t, c, nil)
	until(t, "the welcome", func() bool { return w.Link() != nil })
	began := time.Now()
	close(revoke)
	next(t, w.done, "the end")
	var refused *RefusedError
	if !errors.As(w.err, &refused) || refused.Reason != reason.Unauthenticated {
		t.Errorf("ended with %v", w.err)
	}
	if took := time.Since(began); took > hopelessFor {
		t.Errorf("it took %v, as if another node might know better", took)
	}
}

func TestOneNodeThatLagsBehindDoesNotTurnAWorkerAway(t *testing.T) {
	c := sessiontest.Start(t, 2)
	l := sessiontest.NewLeader(c.Addresses()...)
	c.Nodes[0].OnSession(sessiontest.Refuse(codes.Unauthenticated, reason.Unauthenticated, "unknown capability"))
	c.Nodes[1].OnSession(l.Serve)
	start(t, c, func(s *Session) { s.route.at = slices.Index(s.route.addrs, c.Nodes[0].Addr) })
	next(t, l.Hellos, "a session with the other node")
}

func TestATakenNameIsTriedAgain(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	refusals := make(chan struct{}, 10)
	c.Nodes[0].OnSession(func(s sessiontest.Stream) error {
		refusals <- struct{}{}
		return sessiontest.Refuse(codes.AlreadyExists, reason.Conflict, "the name is bound to another instance key")(s)
	})
	start(t, c, nil)
	next(t, refusals, "a refusal")
	next(t, refusals, "another")
	c.Nodes[0].OnSession(l.Serve)
	next(t, l.Hellos, "a session")
}
