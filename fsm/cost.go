package fsm

import (
	"github.com/weirbuild/weir/proto/pb"
)

// A new measurement moves an average by a fourth of the difference, so that the
// last ten or so builds count. A cached build that took longer than others moves it
// less: it may have waited for the first one with its hint, which was not done yet.
const (
	learnPart       = 4
	learnLongerPart = 16
)

// learn notes how long an attempt that has just ended took, under its job's hint
// and under its client: what is known of a client is the first guess for hints
// that are new. Integers only, so that all nodes agree.
func (s *State) learn(j *Job, a *Attempt) {
	if !measures(a.Outcome.GetKind()) || !s.learns(j.Pool) {
		return
	}
	took := max(a.Ended-a.Started, 1)
	if j.Hint != "" {
		s.measure(&Cost{Pool: j.Pool, Hint: j.Hint}, took, a.Cached)
	}
	client := &Cost{Pool: j.Pool, Client: j.Client}
	if j.Hint == "" {
		client.Plain = true
	}
	s.measure(client, took, a.Cached)
}

// measures says whether a build that ended so tells what such builds take.
func measures(kind pb.OutcomeKind) bool {
	return kind == pb.OutcomeKind_OUTCOME_SUCCEEDED || kind == pb.OutcomeKind_OUTCOME_FAILED ||
		kind == pb.OutcomeKind_OUTCOME_TIMED_OUT
}

func (s *State) learns(pool string) bool {
	p, ok := s.pools.get(pool)
	return ok && p.Limits().Learn
}

// measure moves the averages of key's record. Over the limit the pool forgets its
// least recently measured one.
func (s *State) measure(key *Cost, took int64, cached bool) {
	next := *key
	old, known := s.costs.get(key)
	if known {
		next = *old
		s.costsByUse.del(old)
	}
	next.Used = s.now
	if cached {
		next.Cached = moved(next.Cached, took, learnLongerPart)
	} else {
		next.Uncached = moved(next.Uncached, took, learnPart)
	}
	s.costs.set(&next)
	s.costsByUse.set(&next)
	if !known && s.countCosts(next.Pool, +1) > MaxCosts {
		for oldest := range s.costsByUse.from(&Cost{Pool: next.Pool}) {
			s.costs.del(oldest)
			s.costsByUse.del(oldest)
			s.countCosts(next.Pool, -1)
			break
		}
	}
}

// moved is an average after one more measurement; 0 is one without any.
func moved(average, took, longerPart int64) int64 {
	switch {
	case average == 0:
		return took
	case took > average:
		return average + (took-average)/longerPart
	}
	return average + (took-average)/learnPart
}

func (s *State) countCosts(pool string, delta int) int {
	p := s.changePool(pool)
	p.Costs += delta
	return p.Costs
}

// dropCosts forgets what a pool has measured.
func (s *State) dropCosts(pool string) {
	var gone []*Cost
	for c := range s.Costs(pool) {
		gone = append(gone, c)
	}
	for _, c := range gone {
		s.costs.del(c)
		s.costsByUse.del(c)
	}
	s.countCosts(pool, -len(gone))
}

// Estimate is what a job is expected to take, in ms, where its hint is cached and
// where it is not: as measured, else as others of its client were, else as the
// pool's configuration says. Without a hint both are the same.
func (s *State) Estimate(p *Pool, client, hint string) (cached, uncached int64) {
	limits := p.Limits()
	cached, uncached = limits.CachedCost, limits.UncachedCost
	if !limits.Learn {
		return cached, uncached
	}
	if hint == "" {
		if c, ok := s.costs.get(&Cost{Pool: p.Name, Client: client, Plain: true}); ok {
			uncached = c.Uncached
		}
		return uncached, uncached
	}
	for _, key := range []*Cost{{Pool: p.Name, Client: client}, {Pool: p.Name, Hint: hint}} {
		if c, ok := s.costs.get(key); ok {
			cached, uncached = orDefault(c.Cached, cached), orDefault(c.Uncached, uncached)
		}
	}
	return min(cached, uncached), uncached
}

// giveBack returns to a client what a job was charged that never ran.
func (s *State) giveBack(j *Job) {
	if len(j.Attempts) > 0 || !s.learns(j.Pool) {
		return
	}
	h := s.changeShare(j.Pool, j.Client)
	h.Next = max(h.Next-j.Charge, 0)
}
