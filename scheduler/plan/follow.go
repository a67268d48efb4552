package plan

import (
	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/jobkind"
	"github.com/weirbuild/weir/proto/pb"
)

// What follows ties a pool's plan to the replicated state: the same for the
// leader, which works on committed commands, and for a simulation of it.

// Fact is what the state says of an event's subject now, which may be later than
// the event.
type Fact struct {
	Job     *fsm.Job
	Attempt *fsm.Attempt
	Client  *fsm.Client
}

// FactOf looks up the subject of an event.
func FactOf(s *fsm.State, e *fsm.Event) (f Fact) {
	switch e.Kind {
	case fsm.JobQueued, fsm.JobBackoff, fsm.JobMoved:
		f.Job, _ = s.Job(e.Job)
	case fsm.LeaseGranted, fsm.AttemptEnded, fsm.CancelRequested, fsm.PermitFreed:
		f.Job, f.Attempt, _ = s.Attempt(e.Lease)
	case fsm.ClientChanged:
		f.Client, _ = s.Client(e.Client)
	}
	return f
}

// Runs says whether the event's attempt is not over yet.
func (f Fact) Runs() bool { return f.Attempt != nil && f.Attempt.Outcome == nil }

// Follow takes in one event of the pool.
func (p *Pool) Follow(e fsm.Event, f Fact) {
	switch e.Kind {
	case fsm.JobQueued:
		if f.Job != nil && f.Job.State == pb.JobState_JOB_STATE_QUEUED {
			p.Queue(JobOf(f.Job))
		}
	case fsm.LeaseGranted:
		if f.Runs() {
			p.Hold(leaseOf(f.Job, f.Attempt))
		} else {
			p.Remove(e.Job) // it is over already
		}
	case fsm.AttemptEnded:
		if f.Attempt != nil && f.Attempt.Held {
			p.Keep(e.Lease, f.Job.Concurrency, f.Job.AtMost)
		}
		p.Release(e.Lease)
	case fsm.PermitFreed:
		p.Free(e.Lease)
	case fsm.JobMoved:
		if f.Job != nil {
			p.Move(e.Job, f.Job.FairStart)
		}
	case fsm.ClientChanged:
		p.SetClientLimit(e.Client, limitOf(f.Client))
	case fsm.JobSettled:
		p.Remove(e.Job)
	}
}

// Rebuild makes the plan what the state says of the pool. It stays paused until
// Resume.
func (p *Pool) Rebuild(s *fsm.State, pool *fsm.Pool) {
	p.Reset()
	for c := range s.Clients() {
		p.SetClientLimit(c.Name, c.MaxRunning)
	}
	p.Load(pool.Queued, func(yield func(Job) bool) {
		for j := range s.Queue(pool.Name) {
			if !yield(JobOf(j)) {
				return
			}
		}
	})
	for j := range s.Leases(pool.Name) {
		p.Hold(leaseOf(j, j.Last()))
	}
	for j, a := range s.Holds() {
		if j.Pool == pool.Name {
			p.Keep(a.Lease, j.Concurrency, j.AtMost)
		}
	}
}

func limitOf(c *fsm.Client) int {
	if c == nil {
		return 0
	}
	return c.MaxRunning
}

// StillWaits says whether a job whose grant was refused is in the backlog yet.
func StillWaits(s *fsm.State, id fsm.JobID) bool {
	j, err := s.Job(id)
	return err == nil && j.State == pb.JobState_JOB_STATE_QUEUED
}

// JobOf is a job as the planner sees it.
func JobOf(j *fsm.Job) Job {
	return Job{
		ID: j.ID, Urgent: j.Urgent, FairStart: j.FairStart, Client: j.Client, Hint: j.Hint,
		Priority: j.Priority, Concurrency: j.Concurrency, AtMost: j.AtMost,
		Need: Need{Kind: jobkind.OfBytes(j.Spec), Slots: j.Slots, Labels: j.Labels, Key: keyOf(j), Leash: j.Concurrency != "", Avoid: avoided(j)},
	}
}

// keyOf is the key that a worker must hold for the job's secrets.
func keyOf(j *fsm.Job) string {
	if len(j.Sealed) == 0 {
		return ""
	}
	return jobkind.SealedTo(j.Spec)
}

func leaseOf(j *fsm.Job, a *fsm.Attempt) Lease {
	return Lease{
		ID: a.Lease, Job: j.ID, Worker: a.Worker, Slots: j.Slots, Client: j.Client, Hint: j.Hint,
		Started: a.Started, Cached: a.Cached, Key: j.Concurrency, AtMost: j.AtMost,
	}
}

// PolicyOf is what a pool's configuration chooses.
func PolicyOf(l fsm.Limits) Policy {
	return Policy{Steal: l.Steal, MaxRunning: l.MaxRunning, MaxRunningPerClient: l.MaxRunningPerClient, WideAfter: l.WideAfter}
}

// LookUp answers as a Book from the state.
func LookUp(s *fsm.State, pool, client, hint string) (workers []string, costs Costs) {
	if hint != "" {
		for w := range s.HintWorkers(pool, hint) {
			workers = append(workers, w.Worker)
		}
	}
	if p, ok := s.Pool(pool); ok {
		costs.Cached, costs.Uncached = s.Estimate(p, client, hint)
	}
	return workers, costs
}
