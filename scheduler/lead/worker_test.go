package lead

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// worker is a worker that the test plays, with its stream.
type worker struct {
	c      *cluster
	hello  *pb.WorkerHello
	by     Caller
	ctx    context.Context
	cancel context.CancelFunc
	up     chan *pb.WorkerMessage
	down   chan *pb.NodeMessage
	ended  chan error

	seq      atomic.Uint64 // of the latest heartbeat
	answered uint64
	welcome  *pb.Welcome
	grants   []*pb.Grant // not yet awaited
	stops    []*pb.Stop
	acks     []*pb.FinishAck

	mu   sync.Mutex
	mute bool // sends no heartbeats and answers no probes
	runs []uint64
}

var errHungUp = errors.New("the worker hung up")

func (w *worker) Context() context.Context { return w.ctx }

func (w *worker) Send(m *pb.NodeMessage) error {
	select {
	case w.down <- m:
		return nil
	case <-w.ctx.Done():
		return errHungUp
	}
}

func (w *worker) Recv() (*pb.WorkerMessage, error) {
	select {
	case m := <-w.up:
		return m, nil
	case <-w.ctx.Done():
		return nil, errHungUp
	}
}

func ready() *pb.WorkerStatus { return &pb.WorkerStatus{Ready: true} }

func hello(name string, slots uint32) *pb.WorkerHello {
	return &pb.WorkerHello{
		Pool: "p", Name: name, InstanceKey: []byte("the instance key of worker " + name), Slots: slots,
		BootId: "boot-1", Status: ready(),
	}
}

// dial begins a session, whatever becomes of it.
func (c *cluster) dial(h *pb.WorkerHello, by Caller) *worker {
	w := c.newWorker(h, by)
	w.start()
	return w
}

func (c *cluster) newWorker(h *pb.WorkerHello, by Caller) *worker {
	w := &worker{
		c: c, hello: h, by: by, up: make(chan *pb.WorkerMessage, 64), down: make(chan *pb.NodeMessage, 1024), ended: make(chan error, 1),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *worker) start() {
	go func() {
		err := w.c.leader.Serve(w, w.hello, w.by)
		w.cancel() // as gRPC does when a handler returns
		w.ended <- err
	}()
	w.c.t.Cleanup(w.hangUp)
}

// connect begins a session that must be welcome, and sends heartbeats.
func (c *cluster) connect(h *pb.WorkerHello) *worker { return c.connectBy(h, Caller{Remote: "test"}) }

func (c *cluster) connectBy(h *pb.WorkerHello, by Caller) *worker {
	c.t.Helper()
	w := c.dial(h, by)
	for _, r := range h.Running {
		w.runs = append(w.runs, r.Lease)
	}
	w.await("a welcome", func() bool { return w.welcome != nil })
	go w.beat()
	return w
}

// hangUp breaks the stream and waits for the session's end.
func (w *worker) hangUp() {
	w.cancel()
	w.ended <- <-w.ended
}

// awaitEnd returns why the session ended.
func (w *worker) awaitEnd() error {
	w.c.t.Helper()
	select {
	case err := <-w.ended:
		w.ended <- err
		return err
	case <-time.After(patience):
		w.c.t.Fatal("the session does not end")
		return nil
	}
}

func (w *worker) beat() {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-w.ctx.Done():
			return
		}
		if !w.isMute() {
			w.say(&pb.WorkerMessage{Heartbeat: w.heartbeat()})
		}
	}
}

func (w *worker) heartbeat() *pb.Heartbeat {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &pb.Heartbeat{Seq: w.seq.Add(1), Running: slices.Clone(w.runs)}
}

// running changes what the worker's heartbeats name.
func (w *worker) running(change func(runs []uint64) []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = change(w.runs)
}

func (w *worker) isMute() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mute
}

// freeze makes the worker silent, as SIGSTOP does; its stream stays open.
func (w *worker) freeze(mute bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = mute
}

func (w *worker) say(m *pb.WorkerMessage) {
	select {
	case w.up <- m:
	case <-w.ctx.Done():
	}
}

// take sorts what has come down, answering probes.
func (w *worker) take(m *pb.NodeMessage) {
	if m.Welcome != nil {
		w.welcome = m.Welcome
	}
	w.answered = max(w.answered, m.HeartbeatAck.GetSeq())
	w.grants = append(w.grants, m.Grants...)
	w.running(func(runs []uint64) []uint64 {
		for _, g := range m.Grants {
			runs = append(runs, g.Lease)
		}
		return runs
	})
	w.stops = append(w.stops, m.Stops...)
	w.acks = append(w.acks, m.FinishAcks...)
	if m.Probe != nil && !w.isMute() {
		w.say(&pb.WorkerMessage{ProbeReply: &pb.ProbeReply{Nonce: m.Probe.Nonce}})
	}
}

// await reads until the condition holds.
func (w *worker) await(what string, cond func() bool) {
	w.c.t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case m := <-w.down:
			w.take(m)
		case err := <-w.ended:
			w.ended <- err
			for len(w.down) > 0 {
				w.take(<-w.down)
			}
			if !cond() {
				w.c.t.Fatalf("worker %s: the session ended before %s: %v", w.hello.Name, what, err)
			}
		case <-deadline:
			w.c.t.Fatalf("worker %s did not get %s", w.hello.Name, what)
		}
	}
}

func (w *worker) awaitGrant() *pb.Grant {
	w.c.t.Helper()
	w.await("a grant", func() bool { return len(w.grants) > 0 })
	g := w.grants[0]
	w.grants = w.grants[1:]
	return g
}

func (w *worker) awaitStop() *pb.Stop {
	w.c.t.Helper()
	w.await("a stop", func() bool { return len(w.stops) > 0 })
	s := w.stops[0]
	w.stops = w.stops[1:]
	return s
}

// finish reports an end and returns the acknowledgement.
func (w *worker) finish(lease uint64, kind pb.OutcomeKind) *pb.FinishAck {
	w.c.t.Helper()
	w.say(&pb.WorkerMessage{Finished: []*pb.FinishedAttempt{{Lease: lease, Outcome: &pb.Outcome{Kind: kind}}}})
	w.await("an acknowledgement", func() bool { return len(w.acks) > 0 })
	a := w.acks[0]
	w.acks = w.acks[1:]
	return a
}

// idle reads what has come, and fails if there are grants or stops among it.
// Everything that a past command caused has come once the term has digested it.
func (w *worker) idle() {
	w.c.t.Helper()
	w.sync()
	if len(w.grants)+len(w.stops) > 0 {
		w.c.t.Errorf("worker %s got grants %v and stops %v", w.hello.Name, w.grants, w.stops)
	}
}

// sync waits until the loop has worked off what was applied before, and the
// worker has read what that sent.
func (w *worker) sync() {
	w.c.t.Helper()
	w.c.round()
	w.c.round() // what the first proposed is on its way now
	w.c.do(&pb.Command{Op: &pb.Command_Tick{Tick: &pb.Tick{}}})
	w.c.round()
	h := w.heartbeat()
	w.say(&pb.WorkerMessage{Heartbeat: h})
	w.await("an answer", func() bool { return w.answered >= h.Seq })
}
