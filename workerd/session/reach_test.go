package session

import (
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

// relaying answers a plain session with a redirect and passes on one that asks
// for it.
func relaying(leader string, l *sessiontest.Leader) func(sessiontest.Stream) error {
	return func(s sessiontest.Stream) error {
		p := &peeked{Stream: s}
		if first, err := p.peek(); err != nil {
			return err
		} else if !first.Hello.Relay {
			return sessiontest.Redirect(leader)(p)
		}
		return l.Serve(p)
	}
}

// peeked is a stream whose first message was looked at.
type peeked struct {
	sessiontest.Stream
	first *pb.WorkerMessage
}

func (p *peeked) peek() (*pb.WorkerMessage, error) {
	var err error
	p.first, err = p.Stream.Recv()
	return p.first, err
}

func (p *peeked) Recv() (*pb.WorkerMessage, error) {
	if m := p.first; m != nil {
		p.first = nil
		return m, nil
	}
	return p.Stream.Recv()
}

func TestAFollowerRelaysWhereTheLeaderIsOutOfReach(t *testing.T) {
	for name, breakIt := range map[string]func(*sessiontest.Node){
		"black hole": (*sessiontest.Node).Cut,
		"refused":    (*sessiontest.Node).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			c := sessiontest.Start(t, 2)
			l := sessiontest.NewLeader(c.Addresses()...)
			leader, follower := c.Nodes[0], c.Nodes[1]
			follower.OnSession(relaying(leader.Addr, l))
			breakIt(leader)
			w := start(t, c, nil)
			hello := next(t, l.Hellos, "a relayed session")
			if link, err := w.WaitLink(t.Context()); err != nil || !hello.Relay || !link.Relay || link.Addr != follower.Addr {
				t.Errorf("hello %v, link %+v, %v", hello, link, err)
			}
		})
	}
}

func TestARelayedSessionGoesBackToTheLeader(t *testing.T) {
	c := sessiontest.Start(t, 2)
	leader, follower := c.Nodes[0], c.Nodes[1]
	l := sessiontest.NewLeader(c.Addresses()...)
	leader.OnSession(l.Serve)
	follower.OnSession(relaying(leader.Addr, l))
	leader.Cut()
	start(t, c, func(s *Session) { s.timing.direct = 50 * time.Millisecond })
	if hello := next(t, l.Hellos, "a relayed session"); !hello.Relay {
		t.Fatalf("first hello: %v", hello)
	}
	leader.Heal()
	if hello := next(t, l.Hellos, "a direct session"); hello.Relay {
		t.Fatalf("second hello: %v", hello)
	}
}

func TestALeaderThatFallsSilentIsLeft(t *testing.T) {
	c := sessiontest.Start(t, 2)
	leader, follower := c.Nodes[0], c.Nodes[1]
	a, b := sessiontest.NewLeader(c.Addresses()...), sessiontest.NewLeader(c.Addresses()...)
	leader.OnSession(a.Serve)
	follower.OnSession(sessiontest.Redirect(leader.Addr))
	w := start(t, c, nil)
	next(t, a.Hellos, "the first session")
	until(t, "the welcome", func() bool { return w.Link() != nil })
	w.host.mu.Lock()
	w.host.running = []uint64{5}
	w.host.mu.Unlock()
	follower.OnSession(b.Serve)
	leader.Cut()
	if hello := next(t, b.Hellos, "a session with the new leader"); len(hello.Running) != 1 {
		t.Errorf("hello says it runs %v", hello.Running)
	}
}

func TestADeafLeaderIsLeftAlthoughItsConnectionLives(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	l.Deaf = true
	c.Nodes[0].OnSession(l.Serve)
	start(t, c, nil)
	next(t, l.Hellos, "the first session")
	next(t, l.Hellos, "the second session")
}

func TestAShortCutIsNotNoticed(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	l.Welcome.HeartbeatMs, l.Welcome.LeaseTtlMs = 3000, 15000 // the default profile
	c.Nodes[0].OnSession(l.Serve)
	w := start(t, c, nil)
	next(t, l.Hellos, "the session")
	until(t, "a heartbeat", func() bool { n, _ := l.Beats(); return n > 0 })
	link := w.Link()
	c.Nodes[0].Cut()
	<-time.After(5 * time.Second) // the cut itself, not a wait for something
	before, _ := l.Beats()
	c.Nodes[0].Heal()
	until(t, "heartbeats after the cut", func() bool { n, _ := l.Beats(); return n > before+1 })
	if w.Link() != link {
		t.Error("the session was replaced")
	}
}
