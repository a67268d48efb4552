package lead

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/state"
	"github.com/weirbuild/weir/scheduler/state/statetest"
)

// patience is how long a test waits for what should happen soon.
const patience = 30 * time.Second

// quick is a configuration in which silence has consequences soon: a lease holds
// for 1 s, and heartbeats are due every 200 ms.
var quick = Config{LeaseTTL: time.Second, Election: 20 * time.Millisecond, ReconnectMax: 100 * time.Millisecond}

// cluster is a leader over a real node, with workers that a test plays.
type cluster struct {
	t      testing.TB
	store  *state.Store
	leader *Leader

	leave context.CancelFunc // ends the office
	over  chan error
}

func newCluster(t testing.TB, cfg Config) *cluster {
	c := &cluster{t: t, store: statetest.Start(t, nil)}
	c.leader = New(cfg, c.store, hclog.NewNullLogger(), nil)
	c.takeOffice()
	t.Cleanup(c.leaveOffice)
	c.do(&pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "ci", Rate: 1}}})
	c.do(&pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: "p", Config: &pb.PoolConfig{BackoffMs: 1}}}})
	return c
}

// takeOffice begins a term; the leader remembers nothing of earlier ones.
func (c *cluster) takeOffice() {
	office, cancel := context.WithCancel(context.Background())
	c.leave, c.over = cancel, make(chan error, 1)
	go func() { c.over <- c.leader.Run(office) }()
	c.eventually("the term begins", func() bool {
		t, err := c.leader.current()
		if err != nil {
			return false
		}
		select {
		case <-t.ready:
			return true
		default:
			return false
		}
	})
}

func (c *cluster) leaveOffice() {
	c.leave()
	if err := <-c.over; err != nil {
		c.t.Errorf("the term ended: %v", err)
	}
	c.over <- nil
}

func (c *cluster) term() *term {
	t, err := c.leader.current()
	if err != nil {
		c.t.Fatal(err)
	}
	return t
}

// do has a command done.
func (c *cluster) do(cmd *pb.Command) fsm.Result {
	c.t.Helper()
	r, err := c.store.Propose(c.t.Context(), cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func submit(spec *pb.JobSpec, grantTo string) *pb.Command {
	data, err := proto.Marshal(spec)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return &pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
		Client: "ci", Pool: "p", Spec: data, SpecSha256: sum[:], CacheHint: spec.CacheHint, Urgent: spec.Urgent,
		Slots: spec.Slots, Labels: spec.Labels, GrantTo: grantTo,
	}}}
}

// submit makes a job without a suggestion.
func (c *cluster) submit(spec *pb.JobSpec) fsm.JobID {
	c.t.Helper()
	return c.do(submit(spec, "")).Job
}

func (c *cluster) job(id fsm.JobID) (j *fsm.Job) {
	c.t.Helper()
	var err error
	c.store.View(func(s *fsm.State) { j, err = s.Job(id) })
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

func (c *cluster) eventually(what string, cond func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			c.t.Fatalf("it did not happen within %v: %s", patience, what)
		}
		pause()
	}
}

// pause lets others run between two looks at a condition.
func pause() {
	timer := time.NewTimer(2 * time.Millisecond)
	<-timer.C
}

func (c *cluster) awaitState(id fsm.JobID, want pb.JobState) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("job %d becomes %s", id, fsm.StateName(want)), func() bool { return c.job(id).State == want })
}

func (c *cluster) awaitSettled(id fsm.JobID, want pb.OutcomeKind) {
	c.t.Helper()
	c.awaitState(id, pb.JobState_JOB_STATE_SETTLED)
	if got := c.job(id).Outcome; got.GetKind() != want {
		c.t.Errorf("job %d ended as %v, want %v", id, got, want)
	}
}

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
	w := &worker{
		c: c, hello: h, by: by, up: make(chan *pb.WorkerMessage, 64), down: make(chan *pb.NodeMessage, 1024), ended: make(chan error, 1),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go func() {
		err := c.leader.Serve(w, h, by)
		w.cancel() // as gRPC does when a handler returns
		w.ended <- err
	}()
	c.t.Cleanup(w.hangUp)
	return w
}

// connect begins a session that must be welcome, and sends heartbeats.
func (c *cluster) connect(h *pb.WorkerHello) *worker { return c.connectBy(h, Caller{Remote: "test"}) }

func (c *cluster) connectBy(h *pb.WorkerHello, by Caller) *worker {
	c.t.Helper()
	w := c.dial(h, by)
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
			w.say(&pb.WorkerMessage{Heartbeat: &pb.Heartbeat{Seq: w.seq.Add(1)}})
		}
	}
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
	seq := w.seq.Add(1)
	w.say(&pb.WorkerMessage{Heartbeat: &pb.Heartbeat{Seq: seq}})
	w.await("an answer", func() bool { return w.answered >= seq })
}

// round lets the loop take in everything that has happened before.
func (c *cluster) round() {
	t := c.term()
	t.mu.Lock()
	t.ticking = true // a Tick seems to be on its way
	t.mu.Unlock()
	t.notes.add(note{ticked: true})
	c.eventually("the loop goes round", func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return !t.ticking
	})
}

func is(err error, kind fsm.Kind) bool {
	r, ok := errors.AsType[*fsm.Refusal](err)
	return ok && r.Kind == kind
}

// passTime has a command applied that carries a later time.
func (c *cluster) passTime(by time.Duration) {
	c.t.Helper()
	tick := &pb.Command{IssuedAtMs: c.store.Now() + by.Milliseconds(), Op: &pb.Command_Tick{Tick: &pb.Tick{}}}
	data, err := proto.Marshal(tick)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.store.Node().Propose(c.t.Context(), data); err != nil {
		c.t.Fatal(err)
	}
}
