package fsm

import (
	"fmt"
	"iter"
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// Semaphore counts the jobs of a pool that have one concurrency key. It is there
// while any of them waits, runs, or holds on to the key.
type Semaphore struct {
	Pool    string
	Key     string
	Most    uint32 // of its permits, each for a job that runs
	Waiting int
	Running int
	Held    int // permits of leases that are over, whose workers may not have killed the job yet

	batch uint64 // as Pool's
}

// Free is how many more jobs with the key may start.
func (s *Semaphore) Free() int { return int(s.Most) - s.Running - s.Held }

// Semaphore finds what a pool knows of a concurrency key.
func (s *State) Semaphore(pool, key string) (*Semaphore, bool) {
	return s.semaphores.get(&Semaphore{Pool: pool, Key: key})
}

// Holds are the jobs with attempts that hold on to a concurrency key after their
// lease, by lease.
func (s *State) Holds() iter.Seq2[*Job, *Attempt] {
	return func(yield func(*Job, *Attempt) bool) {
		for lease := range s.holds.all() {
			if j, a, ok := s.Attempt(lease); ok && !yield(j, a) {
				return
			}
		}
	}
}

// changeSemaphore changes the counts of a job's key, if it has one.
func (s *State) changeSemaphore(j *Job, change func(*Semaphore)) {
	if j.Concurrency == "" {
		return
	}
	key := &Semaphore{Pool: j.Pool, Key: j.Concurrency, Most: j.AtMost}
	old, ok := s.semaphores.get(key)
	switch {
	case !ok:
		old = key
	case old.batch != s.batch:
		next := *old
		old = &next
	}
	old.batch = s.batch
	change(old)
	if old.Waiting+old.Running+old.Held == 0 {
		s.semaphores.del(old)
		return
	}
	s.semaphores.set(old)
}

func (m *Semaphore) count(state pb.JobState, delta int) {
	m.Waiting += delta * waits(state)
	if state == pb.JobState_JOB_STATE_RUNNING {
		m.Running += delta
	}
}

// agrees refuses a job that wants more or fewer permits than others with its key.
func (s *State) agrees(j *Job) *Refusal {
	if j.Concurrency == "" {
		return nil
	}
	if m, ok := s.Semaphore(j.Pool, j.Concurrency); ok && m.Most != j.AtMost {
		return refusal(Conflict, "concurrency key %s of pool %s lets %d jobs run at once while jobs with it are there, and this one says %d; submit it with the same number, or when they are over",
			quote(j.Concurrency), j.Pool, m.Most, j.AtMost)
	}
	return nil
}

// permitted says which limit keeps a job from starting now; nil: none does.
func (s *State) permitted(j *Job, leash int64) *Refusal {
	p, _ := s.pools.get(j.Pool)
	limits := p.Limits()
	if limits.MaxRunning > 0 && p.Running >= limits.MaxRunning {
		return refusal(Refused, "pool %s runs %d jobs, its limit (max_running)", p.Name, p.Running)
	}
	if most := s.MaxRunning(limits, j.Client); most > 0 {
		if h, ok := s.share(j.Pool, j.Client); ok && h.Running >= most {
			return refusal(Refused, "client %s runs %d jobs in pool %s, its limit there", j.Client, h.Running, j.Pool)
		}
	}
	if j.Concurrency == "" {
		return nil
	}
	if m, ok := s.Semaphore(j.Pool, j.Concurrency); ok && m.Free() <= 0 {
		return refusal(Refused, "concurrency key %s of pool %s lets %d jobs run at once: %d run, and %d may still run where contact was lost", quote(j.Concurrency), j.Pool, m.Most, m.Running, m.Held)
	}
	if leash < MinLeaseTTL || leash > MaxDuration {
		return refusal(Refused, "grant of job %d: a leash of %d ms is out of range, and a job with a concurrency key needs one", j.ID, leash)
	}
	if len(j.Attempts) == MaxAttempts && j.Attempts[0].Held {
		return refusal(Refused, "job %d holds its concurrency key by too many lost attempts", j.ID)
	}
	return nil
}

// MaxRunning is how many jobs of a client may run at once in a pool with these
// limits; 0: any number.
func (s *State) MaxRunning(l Limits, client string) int {
	if c, ok := s.Client(client); ok && c.MaxRunning > 0 {
		return c.MaxRunning
	}
	return l.MaxRunningPerClient
}

// holdOn keeps the key of an attempt that is over taken, if its worker may not have
// killed the build yet: a is of the job's next record.
func (s *State) holdOn(next *Job, a *Attempt) {
	if next.Concurrency == "" || !lingers(a.Outcome.GetKind()) {
		return
	}
	a.Held = true
	s.holds.set(a.Lease, next.ID)
	s.changeSemaphore(next, func(m *Semaphore) { m.Held++ })
}

// lingers says whether a build whose attempt ended so may still run: it is the
// cluster's word that it is over, or that of a worker that has just started again.
func lingers(kind pb.OutcomeKind) bool {
	return !finishes(kind) || kind == pb.OutcomeKind_OUTCOME_WORKER_RESTARTED
}

// freePermit ends what holdOn began.
func (s *State) freePermit(c *pb.FreePermit) Result {
	lease := LeaseID(c.GetLease())
	j, a, ok := s.Attempt(lease)
	if !ok {
		return refuse(NotFound, "lease %d is not known: it never was, or its job is forgotten", lease)
	}
	r := Result{Job: j.ID, Lease: lease, Attempt: a.No, Worker: a.Worker}
	if !a.Held {
		r.Repeat = true
		return r
	}
	next := clone(j)
	next.Attempts = slices.Clone(j.Attempts)
	for i := range next.Attempts {
		if next.Attempts[i].Lease == lease {
			next.Attempts[i].Held = false
		}
	}
	s.store(j, next)
	s.holds.del(lease)
	s.changeSemaphore(next, func(m *Semaphore) { m.Held-- })
	s.emit(Event{Kind: PermitFreed, Job: j.ID, Attempt: a.No, Lease: lease, Pool: j.Pool, Worker: a.Worker, Client: j.Client})
	return r
}

// holds says whether an attempt of the job takes its key although its lease is over.
func (j *Job) holds() bool {
	return j.Concurrency != "" && slices.ContainsFunc(j.Attempts, func(a Attempt) bool { return a.Held })
}

// linkPermits counts a job of a snapshot at its key.
func (b *builder) linkPermits(j *Job) error {
	if j.Concurrency == "" {
		return nil
	}
	if r := b.s.agrees(j); r != nil && (j.State != pb.JobState_JOB_STATE_SETTLED || j.holds()) {
		return fmt.Errorf("job %d: %w", j.ID, r)
	}
	for i := range j.Attempts {
		if a := &j.Attempts[i]; a.Held {
			b.s.holds.set(a.Lease, j.ID)
			b.s.changeSemaphore(j, func(m *Semaphore) { m.Held++ })
		}
	}
	if j.State != pb.JobState_JOB_STATE_SETTLED {
		b.s.changeSemaphore(j, func(m *Semaphore) { m.count(j.State, +1) })
	}
	return nil
}

func semaphoreLess(a, b *Semaphore) bool {
	if a.Pool != b.Pool {
		return a.Pool < b.Pool
	}
	return a.Key < b.Key
}
