package fsm

import (
	"iter"

	"github.com/weirbuild/weir/proto/pb"
)

// trim forgets settled jobs. Each is checked again: what the pool's retention
// does not allow any more, or what is gone already, is passed over.
func (s *State) trim(c *pb.Trim) Result {
	if n := len(c.GetJobs()); n > MaxTrim {
		return refuse(Invalid, "trim names %d jobs; at most %d", n, MaxTrim)
	}
	for _, id := range c.GetJobs() {
		j, ok := s.jobs.get(JobID(id))
		if !ok || j.State != pb.JobState_JOB_STATE_SETTLED {
			continue
		}
		if p, _ := s.pools.get(j.Pool); j.holds() || !p.retention(s.now).gone(j.Settled) {
			continue
		}
		s.remove(j)
		p, _ := s.pools.get(j.Pool)
		s.dropIfEmpty(p)
		s.emit(Event{Kind: JobTrimmed, Job: j.ID, Pool: j.Pool, Client: j.Client})
	}
	return Result{}
}

// Trimmable proposes settled jobs of a pool for a Trim, the oldest first, at most
// most: those over the pool's count or age. What settled in the last MinKeep goes
// only when the pool has HardKeepMargin more than it keeps. Ask for every name of
// RetentionPools.
func (s *State) Trimmable(now int64, pool string, most int) []JobID {
	p, ok := s.pools.get(pool)
	if !ok {
		return nil
	}
	var ids []JobID
	rule := p.retention(now)
	for e := range s.settled.from(settledJob{pool: pool}) {
		if e.pool != pool || len(ids) >= most || !rule.gone(e.at) {
			break
		}
		if j, _ := s.jobs.get(e.id); j.holds() {
			continue // until its key is free
		}
		ids = append(ids, e.id)
		rule.settled--
	}
	return ids
}

// RetentionPools names the pools that have settled jobs, by name: also pools that
// were deleted while they had some.
func (s *State) RetentionPools() iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := range s.pools.values() {
			if p.Settled > 0 && !yield(p.Name) {
				return
			}
		}
	}
}

// retention is a pool's rule on settled jobs at one time.
type retention struct {
	now     int64
	settled int // how many there are
	keep    int
	keepFor int64
}

func (p *Pool) retention(now int64) retention {
	r := retention{now: now, settled: p.Settled}
	if !p.deleted {
		limits := p.Limits()
		r.keep, r.keepFor = limits.KeepJobs, limits.KeepFor
	}
	return r
}

// gone says whether a job that settled then may be forgotten.
func (r retention) gone(at int64) bool {
	age := r.now - at
	over := age >= r.keepFor || r.settled > r.keep
	return over && (age >= MinKeep || r.settled > r.keep+HardKeepMargin)
}
