package lead

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	c.makePool()
	return c
}

func (c *cluster) makePool() {
	c.do(&pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "ci", Rate: 1}}})
	c.do(&pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: "p", Config: &pb.PoolConfig{BackoffMs: 1}}}})
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
