package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// timing is what a session waits for; tests use shorter times.
type timing struct {
	// answer is how long a node may take to let the worker in: it may have to
	// commit its registration, to probe a session that it supersedes, and a
	// follower that relays has to reach the leader first.
	answer time.Duration
	// direct is how often a relayed worker tries the leader's own address.
	direct time.Duration
	// repeat is how long a result may stay unacknowledged in a session that
	// works before it is sent again.
	repeat time.Duration
}

var defaultTiming = timing{answer: 3 * time.Second, direct: 30 * time.Second, repeat: 10 * time.Second}

var (
	errNoAnswer = errors.New("connected, but no answer")
	errSilent   = errors.New("the node stopped answering heartbeats")
	errDirect   = errors.New("the leader can be reached directly")
	errEnded    = errors.New("the session ended")
)

// redirected is a node's answer that the leader is elsewhere.
type redirected struct {
	leader    string
	addresses []string
	why       string
}

func (e *redirected) Error() string {
	if e.leader == "" {
		return "no leader: " + e.why
	}
	return "the leader is at " + e.leader
}

func redirect(r *pb.Redirect) *redirected {
	return &redirected{leader: r.Leader, addresses: r.Addresses, why: r.Why}
}

// endedError is the end of a session that had begun.
type endedError struct{ err error }

func (e *endedError) Error() string { return e.err.Error() }
func (e *endedError) Unwrap() error { return e.err }

// why is the end as a metric's label.
func (e *endedError) why() string {
	var to *redirected
	switch {
	case errors.As(e, &to):
		return "redirect"
	case errors.Is(e, errDirect):
		return "direct"
	case errors.Is(e, errRenewed):
		return "renewed"
	case errors.Is(e, errSilent):
		return "silent"
	default:
		return "broken"
	}
}

func reasonOf(err error) string {
	if r := client.Reason(err); r != "" {
		return r
	}
	return reason.Denied
}

type stream = grpc.BidiStreamingClient[pb.WorkerMessage, pb.NodeMessage]

// visit goes to one node and stays as long as the session with it lasts.
func (s *Session) visit(ctx context.Context, st step) error {
	c, err := s.connect(ctx, st)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(s.timing.answer, func() { cancel(errNoAnswer) })
	defer watchdog.Stop()

	card, keys, renewed := s.pass.get()
	asked := Boottime()
	up, err := pb.NewWorkerServiceClient(c).Session(outgoing(ctx, card, s.cluster))
	if err != nil {
		return cause(ctx, err)
	}
	if err := up.Send(s.hello(st, keys)); err != nil && !errors.Is(err, io.EOF) { // after io.EOF, Recv says why
		return cause(ctx, err)
	}
	first, err := up.Recv()
	switch {
	case err != nil:
		return cause(ctx, err)
	case first.Redirect != nil:
		return redirect(first.Redirect)
	case first.Welcome == nil:
		return fmt.Errorf("the node's first message is neither a welcome nor a redirect")
	case !watchdog.Stop():
		return errNoAnswer
	}
	s.renewed.begin(asked)
	return s.serve(ctx, cancel, up, first, st, renewed)
}

// cause is why a stream broke: our own reason when we broke it.
func cause(ctx context.Context, err error) error {
	if own := context.Cause(ctx); own != nil {
		return own
	}
	return err
}

// serve is a session from its welcome to its end.
func (s *Session) serve(ctx context.Context, cancel context.CancelCauseFunc, up stream, first *pb.NodeMessage, st step, renewed <-chan struct{}) error {
	w := first.Welcome
	if err := s.welcome(w, st); err != nil {
		return err
	}
	beat := max(time.Duration(w.HeartbeatMs)*time.Millisecond, minBeat)
	silence := 2*beat + min(beat, time.Second)
	watchdog := time.AfterFunc(silence+beat, func() { cancel(errSilent) })
	defer watchdog.Stop()

	s.out.begin()
	s.Finished(s.host.Results()...)
	end := s.links.begin(ctx, s, st, w)
	defer end()
	defer s.out.end()

	var others sync.WaitGroup
	received := make(chan error, 1)
	pager := newPager(s)
	others.Go(func() { pager.run(ctx) })
	others.Go(func() { received <- s.receive(up, first, pager, func() { watchdog.Reset(silence) }) })
	others.Go(func() { s.seekDirect(ctx, cancel, st) })
	others.Go(func() {
		select {
		case <-renewed:
			cancel(errRenewed)
		case <-ctx.Done():
		}
	})
	err := s.transmit(ctx, up, beat, received)
	cancel(err)
	others.Wait()
	return &endedError{cause(ctx, err)}
}

const minBeat = 50 * time.Millisecond

// welcome takes in what the leader says of itself and its cluster.
func (s *Session) welcome(w *pb.Welcome, st step) error {
	if s.cluster != "" && w.ClusterId != s.cluster {
		return &RefusedError{Reason: reason.WrongCluster, Err: fmt.Errorf(
			"it is cluster %s, and this worker's state directory belongs to cluster %s: give the worker a new --state-dir, or the capability of its own cluster",
			w.ClusterId, s.cluster)}
	}
	if err := s.host.Welcome(w); err != nil {
		return &RefusedError{Reason: reason.Refused, Err: err}
	}
	s.cluster = w.ClusterId
	s.hope.renew()
	s.turned = 0
	s.news = pacer{}
	s.pacing.cap = time.Duration(w.ReconnectMaxMs) * time.Millisecond
	s.route.members(w.Addresses)
	s.route.arrived(st)
	s.keepOnly(st.addr)
	s.metrics.sessions.Inc()
	s.log.Info("connected", "leader", w.Leader, "node", st.addr, "relayed", st.relay, "term", w.Term,
		"session", w.Session, "cluster", w.ClusterId)
	return nil
}

// transmit sends heartbeats and what the outbox holds, until the reader or ctx
// ends.
func (s *Session) transmit(ctx context.Context, up stream, beat time.Duration, received <-chan error) error {
	timer := time.NewTimer(jitter(beat))
	defer timer.Stop()
	var seq uint64
	repeat := repeater{after: s.timing.repeat}
	for {
		for m := s.out.take(s.host); m != nil; m = s.out.take(s.host) {
			if err := up.Send(m); err != nil {
				return <-received // Send only knows that it failed
			}
		}
		select {
		case err := <-received:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.out.wake:
		case now := <-timer.C:
			timer.Reset(beat)
			seq++
			s.renewed.sent(seq)
			if err := up.Send(s.heartbeat(seq)); err != nil {
				return <-received
			}
			s.Finished(repeat.due(s.host, now)...)
		}
	}
}

func (s *Session) heartbeat(seq uint64) *pb.WorkerMessage {
	running := s.host.Running()
	h := &pb.Heartbeat{Seq: seq, Running: make([]uint64, len(running))}
	for i, r := range running {
		h.Running[i] = r.Lease
	}
	return &pb.WorkerMessage{Heartbeat: h}
}

// repeater finds results that a session has had for long without an answer.
type repeater struct {
	after   time.Duration
	last    time.Time
	waiting map[uint64]bool
}

func (r *repeater) due(host Host, now time.Time) []*pb.FinishedAttempt {
	if now.Sub(r.last) < r.after {
		return nil
	}
	r.last = now
	var due []*pb.FinishedAttempt
	waiting := map[uint64]bool{}
	for _, f := range host.Results() {
		if r.waiting[f.Lease] {
			due = append(due, f)
		}
		waiting[f.Lease] = true
	}
	r.waiting = waiting
	return due
}

// receive hands what comes down to the host until the stream ends.
func (s *Session) receive(up stream, first *pb.NodeMessage, pager *pager, alive func()) error {
	for m := first; ; {
		if m.HeartbeatAck != nil {
			s.renewed.acknowledged(m.HeartbeatAck.Seq)
			alive()
		}
		if m.Probe != nil {
			s.out.put(func() { s.out.probes = append(s.out.probes, m.Probe.Nonce) })
		}
		for _, p := range m.Pages {
			pager.ask(p)
		}
		if len(m.FinishAcks) > 0 {
			s.host.FinishAcks(m.FinishAcks)
		}
		if len(m.Stops) > 0 {
			s.host.Stops(m.Stops)
		}
		if len(m.Grants) > 0 {
			s.host.Grants(m.Grants)
		}
		if u := m.Update; u != nil && u.BootId == s.boot && s.cfg.Update != nil {
			s.cfg.Update()
		}
		if m.Redirect != nil {
			return redirect(m.Redirect)
		}
		var err error
		if m, err = up.Recv(); errors.Is(err, io.EOF) {
			return errors.New("the node ended the session")
		} else if err != nil {
			return err
		}
	}
}

// seekDirect ends a relayed session once the leader itself can be reached.
func (s *Session) seekDirect(ctx context.Context, cancel context.CancelCauseFunc, st step) {
	if !st.relay || st.leader == "" {
		return
	}
	for sleep(ctx, s.timing.direct+jitter(s.timing.direct/2)) {
		if c, err := s.dial(ctx, st.leader, patience); err == nil {
			c.Close()
			cancel(errDirect)
			return
		}
	}
}
