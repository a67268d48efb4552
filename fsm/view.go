package fsm

import (
	"iter"
	"math"
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// Job finds a job. The error is a *Refusal: NotFound for an id that was never
// given, Expired for one that retention has forgotten.
func (s *State) Job(id JobID) (*Job, error) {
	j, r := s.job(id)
	if r != nil {
		return nil, r
	}
	return j, nil
}

func (s *State) job(id JobID) (*Job, *Refusal) {
	if j, ok := s.jobs.get(id); ok {
		return j, nil
	}
	if id == 0 || id > s.lastJob {
		return nil, refusal(NotFound, "there is no job %d; the newest is %d", id, s.lastJob)
	}
	return nil, refusal(Expired, "job %d is forgotten: it ended, and its pool's retention has trimmed it", id)
}

// Filter says which jobs Jobs returns. The zero value means all.
type Filter struct {
	Pool   string        // empty: every pool
	Client string        // empty: every client
	States []pb.JobState // empty: every state
	Hint   string        // empty: every cache hint
	Since  int64         // submitted then or later; 0: ever
	// Also, if it is not nil, says which of those jobs are meant. It must be quick.
	Also   func(*Job) bool
	Before JobID // only ids below this; 0: from the newest
	Limit  int   // at most so many; 0: 50
}

// maxScan bounds the records that one call of Jobs looks at.
const maxScan = 20_000

// Jobs lists jobs, newest first, and the Before of the next page, which is 0 at
// the end. It looks at a bounded number of records, so a page of a rare kind of
// job may be short, or even empty, while there is a next one.
func (s *State) Jobs(f Filter) (page []*Job, next JobID) {
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	scanned := 0
	for j := range s.newestFirst(f) {
		if len(page) == limit || scanned == maxScan {
			return page, next
		}
		if j.Submitted < f.Since {
			break // and so are all that are older
		}
		scanned++
		next = j.ID
		if f.matches(j) {
			page = append(page, j)
		}
	}
	return page, 0
}

func (f *Filter) matches(j *Job) bool {
	return (f.Pool == "" || f.Pool == j.Pool) &&
		(f.Client == "" || f.Client == j.Client) &&
		(f.Hint == "" || f.Hint == j.Hint) &&
		(len(f.States) == 0 || slices.Contains(f.States, j.State)) &&
		(f.Also == nil || f.Also(j))
}

func (s *State) newestFirst(f Filter) iter.Seq[*Job] {
	start := JobID(math.MaxUint64)
	if f.Before > 0 {
		start = f.Before - 1
	}
	return func(yield func(*Job) bool) {
		if f.Client == "" {
			for _, j := range s.jobs.down(start) {
				if !yield(j) {
					return
				}
			}
			return
		}
		for c := range s.byClient.down(clientJob{f.Client, start}) {
			if c.client != f.Client {
				return
			}
			if j, ok := s.jobs.get(c.id); !ok || !yield(j) {
				return
			}
		}
	}
}

// AllJobs are the jobs by id, the oldest first.
func (s *State) AllJobs() iter.Seq[*Job] { return s.jobs.values() }

// Queue is a pool's backlog in the order in which it should be served: urgent
// first, then fair start time, then id.
func (s *State) Queue(pool string) iter.Seq[*Job] {
	return within(s.backlog.from(queueHead(pool)), func(j *Job) bool { return j.Pool == pool })
}

// Ahead counts the jobs that are before this one in its pool's backlog; 0 also
// for a job that is not in it.
func (s *State) Ahead(j *Job) int {
	if j.State != pb.JobState_JOB_STATE_QUEUED {
		return 0
	}
	return s.backlog.rank(j) - s.backlog.rank(queueHead(j.Pool))
}

// queueHead sorts before every job of the pool.
func queueHead(pool string) *Job {
	return &Job{Pool: pool, Urgent: true, FairStart: math.MinInt64}
}

// Lease finds the job that is running under a lease. A lease that is over is not
// found, whatever ended it.
func (s *State) Lease(id LeaseID) (*Job, bool) {
	j, a, ok := s.Attempt(id)
	if !ok || a.Outcome != nil {
		return nil, false
	}
	return j, true
}

// Attempt finds the attempt of a lease, running or over, for as long as it is
// kept.
func (s *State) Attempt(id LeaseID) (*Job, *Attempt, bool) {
	job, ok := s.leases.get(id)
	if !ok {
		return nil, nil, false
	}
	j, _ := s.jobs.get(job)
	for i := range j.Attempts {
		if a := &j.Attempts[i]; a.Lease == id {
			return j, a, true
		}
	}
	return nil, nil, false
}

// WorkerLeases are the jobs that a worker runs, by lease.
func (s *State) WorkerLeases(pool, worker string) iter.Seq[*Job] {
	head := &Job{Pool: pool, Attempts: []Attempt{{Worker: worker}}}
	return within(s.running.from(head), func(j *Job) bool { return j.Pool == pool && j.Worker() == worker })
}

// Leases are the running jobs of a pool, or of all pools if it is empty, by
// pool, worker and lease.
func (s *State) Leases(pool string) iter.Seq[*Job] {
	return within(s.running.from(&Job{Pool: pool}), func(j *Job) bool { return pool == "" || j.Pool == pool })
}

// Pool finds a pool.
func (s *State) Pool(name string) (*Pool, bool) {
	p, ok := s.pools.get(name)
	return p, ok && !p.deleted
}

// Pools are all pools by name.
func (s *State) Pools() iter.Seq[*Pool] {
	return func(yield func(*Pool) bool) {
		for p := range s.pools.values() {
			if !p.deleted && !yield(p) {
				return
			}
		}
	}
}

// Worker finds a registered worker.
func (s *State) Worker(pool, name string) (*Worker, bool) {
	return s.workers.get(&Worker{Pool: pool, Name: name})
}

// Workers are the registered workers of a pool, or of all pools if it is empty,
// by pool and name.
func (s *State) Workers(pool string) iter.Seq[*Worker] {
	return within(s.workers.from(&Worker{Pool: pool}), func(w *Worker) bool { return pool == "" || w.Pool == pool })
}

// HintWorkers are the workers of a pool that have built with a cache hint, the
// most recent first.
func (s *State) HintWorkers(pool, hint string) iter.Seq[*Hint] {
	return slices.Values(s.hintWorkers(pool, hint))
}

// Costs are what a pool, or every pool if it is empty, has measured, by client and
// hint.
func (s *State) Costs(pool string) iter.Seq[*Cost] {
	return within(s.costs.from(&Cost{Pool: pool}), func(c *Cost) bool { return pool == "" || c.Pool == pool })
}

// Client finds a client.
func (s *State) Client(name string) (*Client, bool) { return s.clients.get(name) }

// Clients are all clients by name.
func (s *State) Clients() iter.Seq[*Client] { return s.clients.values() }

// Share finds what a client has in a pool; it is absent until the first submit.
func (s *State) Share(pool, client string) (*Share, bool) {
	return s.shares.get(&Share{Pool: pool, Client: client})
}

// Shares are the shares of a pool, or of all pools if it is empty, by pool and
// client.
func (s *State) Shares(pool string) iter.Seq[*Share] {
	return within(s.shares.from(&Share{Pool: pool}), func(h *Share) bool { return pool == "" || h.Pool == pool })
}

// Due is the earliest time at which a job in back-off returns to the backlog, or
// one that waits gives up, in ms; 0 when there is none. A Tick at that time does it.
func (s *State) Due() (due int64) {
	if j, ok := s.backoff.min(); ok {
		due = j.NotBefore
	}
	if j, ok := s.patience.min(); ok && (due == 0 || j.WaitsUntil() < due) {
		due = j.WaitsUntil()
	}
	return due
}

// Capabilities are all capabilities by age, revoked ones too.
func (s *State) Capabilities() iter.Seq[*Capability] { return s.caps.values() }
