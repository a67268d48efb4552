package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/plan"
)

const (
	// Pool is the name of the one pool of a simulation.
	Pool = "sim"
	// LeaseTTL is how long leases outlive their worker's connection: what the
	// default profile gives.
	LeaseTTL = 15 * time.Second

	origin    = 3600 * 1000 // state time at which virtual time is 0, ms
	trimBatch = 500
	pulse     = 1000 // ms from one look at the time to the next
)

// Observer is told of decisions as they are made. A nil function is not called.
type Observer struct {
	Started func(j *fsm.Job, a *fsm.Attempt)
	Ended   func(j *fsm.Job)
}

// Takes is how long a build takes by itself; zero: until Finish.
type Takes struct {
	Cached   time.Duration
	Uncached time.Duration
	// Joins says that a cached build that begins while the worker still makes what
	// is cached waits for that.
	Joins bool
}

// Cluster is a cluster of one pool on virtual time.
type Cluster struct {
	state    *fsm.State
	plan     *plan.Pool
	now      int64
	agenda   agenda
	observer Observer

	workers  []*worker // in the order in which they came first
	takes    map[fsm.JobID]Takes
	making   map[cached]int64 // what is being built for the first time, and until when
	stops    []fsm.LeaseID    // builds that were asked to stop
	untidied int              // jobs that ended since retention was looked at
	watching bool             // there is an entry that tells the planner the time
	due      int64            // the end of a back-off for which there is an entry
}

// New makes a cluster with an empty pool; config may be nil.
func New(config *pb.PoolConfig, observer Observer) (*Cluster, error) {
	c := &Cluster{state: fsm.New(), now: origin, observer: observer, takes: map[fsm.JobID]Takes{}, making: map[cached]int64{}}
	_, err := c.do(&pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: Pool, Config: config}}})
	if err != nil {
		return nil, err
	}
	c.lead()
	return c, nil
}

// lead makes a new leader's memory, from the state.
func (c *Cluster) lead() {
	pool, _ := c.state.Pool(Pool)
	c.plan = plan.New(plan.PolicyOf(pool.Limits()), book{c})
	c.plan.Advance(c.now)
	c.plan.Rebuild(c.state, pool)
	c.plan.Resume()
}

// book answers the planner from the state.
type book struct{ c *Cluster }

// Look implements plan.Book.
func (b book) Look(client, hint string) ([]string, plan.Costs) {
	return plan.LookUp(b.c.state, Pool, client, hint)
}

// Now is the virtual time since the beginning.
func (c *Cluster) Now() time.Duration { return time.Duration(c.now-origin) * time.Millisecond }

// State is the replicated state, to be read only.
func (c *Cluster) State() *fsm.State { return c.state }

// Configure changes the pool; what is not set goes back to its default.
func (c *Cluster) Configure(config *pb.PoolConfig) error {
	return c.command(&pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: Pool, Config: config}}})
}

// SetRate sets a client's rate, and adds the client if it is new.
func (c *Cluster) SetRate(client string, rate float64) error {
	if err := fsm.ValidateRate(rate); err != nil {
		return err
	}
	if _, known := c.state.Client(client); known {
		return c.command(&pb.Command{Op: &pb.Command_SetClientRate{SetClientRate: &pb.SetClientRate{Name: client, Rate: rate}}})
	}
	return c.command(&pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: client, Rate: rate}}})
}

// Submission is a job to submit.
type Submission struct {
	Client string
	Hint   string
	Urgent bool
	Slots  uint32
	Labels []*pb.Label
	Takes  Takes

	Concurrency *pb.Concurrency // nil: it may run beside any other
	Priority    uint32
}

// spec stands for every job's description.
var (
	spec       = []byte("sim")
	specSHA256 = sha256.Sum256(spec)
)

// Submit submits a job as the API does: with the grant that the planner suggests
// in the same command. A client that is not known yet gets a rate of 1.
func (c *Cluster) Submit(s Submission) (fsm.JobID, error) {
	if _, known := c.state.Client(s.Client); !known {
		if err := c.SetRate(s.Client, 1); err != nil {
			return 0, err
		}
	}
	suggestion := c.plan.Suggest(plan.Job{
		Client: s.Client, Hint: s.Hint, Concurrency: s.Concurrency.GetKey(), AtMost: s.Concurrency.GetMost(),
		Need: plan.Need{Slots: max(s.Slots, 1), Labels: labelsOf(s.Labels), Leash: s.Concurrency != nil},
	})
	id := c.state.LastJob() + 1
	if s.Takes != (Takes{}) {
		c.takes[id] = s.Takes
	}
	_, err := c.do(&pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
		Client: s.Client, Pool: Pool, Spec: spec, SpecSha256: specSHA256[:],
		CacheHint: s.Hint, Urgent: s.Urgent, Slots: s.Slots, Labels: s.Labels, GrantTo: suggestion.Worker(),
		Concurrency: s.Concurrency, Priority: s.Priority, LeashMs: c.leaseTTL().Milliseconds(),
	}}})
	c.plan.Withdraw(suggestion)
	if err != nil {
		delete(c.takes, id)
		return 0, err
	}
	return id, c.digest()
}

// Cancel cancels a job. A running one ends when its worker hears of it.
func (c *Cluster) Cancel(id fsm.JobID) error {
	return c.command(&pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(id), Reason: "asked for"}}})
}

// Advance moves virtual time on, through all that happens on the way.
func (c *Cluster) Advance(by time.Duration) error {
	until := c.now + by.Milliseconds()
	for {
		e, ok := c.agenda.next(until)
		if !ok {
			break
		}
		c.now = max(c.now, e.at)
		if err := e.what(); err != nil {
			return err
		}
	}
	c.now = until
	return nil
}

// At does something when virtual time comes there.
func (c *Cluster) At(when time.Duration, what func() error) {
	c.agenda.add(origin+when.Milliseconds(), what)
}

// Idle says whether nothing will happen by itself any more.
func (c *Cluster) Idle() bool { return len(c.agenda.heap) == 0 }

// Failover gives the office to a new leader that knows only a snapshot. The
// connected workers come back to it, with what they run.
func (c *Cluster) Failover() error {
	var snapshot bytes.Buffer
	if _, err := c.state.WriteTo(&snapshot); err != nil {
		return err
	}
	c.state = fsm.New()
	if err := c.state.Restore(&snapshot); err != nil {
		return fmt.Errorf("restore the snapshot: %w", err)
	}
	c.lead()
	for _, w := range c.workers {
		if !w.connected {
			c.doom(w)
			continue
		}
		c.join(w)
		if err := c.digest(); err != nil {
			return err
		}
	}
	return c.digest()
}

// killGrace is how long a worker may take to kill a build, as the leader has it.
const killGrace = 5 * time.Second

// freeLater frees the concurrency key of a lease that is over, once its worker must
// have killed the build.
func (c *Cluster) freeLater(lease fsm.LeaseID, a *fsm.Attempt) {
	c.agenda.add(c.now+a.Leash+killGrace.Milliseconds(), func() error {
		return c.command(&pb.Command{Op: &pb.Command_FreePermit{FreePermit: &pb.FreePermit{Lease: uint64(lease)}}})
	})
}

// command applies a command and does all that follows from it.
func (c *Cluster) command(cmd *pb.Command) error {
	if _, err := c.do(cmd); err != nil {
		return err
	}
	return c.digest()
}

// do applies a command and takes in its events.
func (c *Cluster) do(cmd *pb.Command) (fsm.Result, error) {
	cmd.IssuedAtMs = c.now
	r := c.state.Apply(cmd)
	if c.plan != nil {
		c.plan.Advance(c.now)
	}
	for _, e := range r.Events {
		c.happened(e, plan.FactOf(c.state, &e))
	}
	if r.Refusal != nil {
		return r, r.Refusal
	}
	return r, nil
}

// happened takes in one event, as the leader's loop and its workers would.
func (c *Cluster) happened(e fsm.Event, f plan.Fact) {
	if c.plan != nil {
		c.plan.Follow(e, f)
	}
	switch e.Kind {
	case fsm.PoolChanged:
		if p, ok := c.state.Pool(Pool); ok && c.plan != nil {
			c.plan.SetPolicy(plan.PolicyOf(p.Limits()))
		}
	case fsm.WorkerPaused:
		if w, ok := c.state.Worker(Pool, e.Worker); ok {
			c.plan.SetInactive(e.Worker, inactive(w))
		}
	case fsm.LeaseGranted:
		if f.Runs() {
			c.begin(f.Job, f.Attempt)
		}
	case fsm.CancelRequested:
		if w := c.find(e.Worker); w != nil && w.connected {
			c.stops = append(c.stops, e.Lease)
		}
	case fsm.JobBackoff, fsm.JobQueued:
		if f.Job != nil && f.Job.Due() != 0 {
			c.wakeAt(f.Job.Due())
		}
	case fsm.AttemptEnded:
		if f.Attempt != nil && f.Attempt.Held {
			c.freeLater(e.Lease, f.Attempt)
		}
	case fsm.JobSettled:
		c.settled(e.Job)
	case fsm.WorkerForgotten:
		c.disconnect(c.find(e.Worker))
	}
}

func (c *Cluster) settled(id fsm.JobID) {
	j, err := c.state.Job(id)
	if err != nil {
		return
	}
	delete(c.takes, id)
	c.untidied++
	if c.observer.Ended != nil {
		c.observer.Ended(j)
	}
}

// wakeAt sees to it that a back-off, or a wait, ends on time.
func (c *Cluster) wakeAt(at int64) {
	if c.due != 0 && c.due <= at {
		return
	}
	c.due = at
	c.agenda.add(at, func() error {
		c.due = 0
		if err := c.command(&pb.Command{Op: &pb.Command_Tick{Tick: &pb.Tick{}}}); err != nil {
			return err
		}
		if next := c.state.Due(); next != 0 {
			c.wakeAt(next)
		}
		return nil
	})
}

// digest proposes what the planner has decided until there is no more.
func (c *Cluster) digest() error {
	for {
		if len(c.stops) > 0 {
			lease := c.stops[0]
			c.stops = c.stops[1:]
			if err := c.report(lease, pb.OutcomeKind_OUTCOME_CANCELLED); err != nil {
				return err
			}
			continue
		}
		grants := c.plan.Take()
		if len(grants) == 0 {
			c.watch()
			return c.tidy()
		}
		for _, g := range grants {
			if err := c.grant(g); err != nil {
				return err
			}
		}
	}
}

// watch lets the planner know how time passes while that alone may lead to a
// decision.
func (c *Cluster) watch() {
	if c.watching || !c.plan.Restless() {
		return
	}
	c.watching = true
	c.agenda.add(c.now+pulse, func() error {
		c.watching = false
		c.plan.Advance(c.now)
		return c.digest()
	})
}

// grant proposes a decision. No other command comes between it and what it was
// made from, so the state never refuses it.
func (c *Cluster) grant(g plan.Grant) error {
	_, err := c.do(&pb.Command{Op: &pb.Command_GrantLease{GrantLease: &pb.GrantLease{
		Job: uint64(g.Job), Worker: g.Worker, LeashMs: c.leaseTTL().Milliseconds(), InPlaceOf: uint64(g.InPlaceOf),
	}}})
	if err != nil {
		return fmt.Errorf("the planner and the state differ: %w", err)
	}
	c.plan.Settle(g.Job, false)
	return nil
}

// tidy trims finished jobs as the leader does.
func (c *Cluster) tidy() error {
	for c.untidied >= trimBatch {
		ids := c.state.Trimmable(c.now, Pool, trimBatch)
		if len(ids) < trimBatch {
			c.untidied = 0
			return nil
		}
		trim := &pb.Trim{Jobs: make([]uint64, len(ids))}
		for i, id := range ids {
			trim.Jobs[i] = uint64(id)
		}
		if _, err := c.do(&pb.Command{Op: &pb.Command_Trim{Trim: trim}}); err != nil {
			return err
		}
	}
	return nil
}
