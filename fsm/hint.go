package fsm

import (
	"cmp"
	"slices"
)

// recordHint notes that a worker builds with a hint, and says whether it had done
// so before. Over the limit the pool forgets its least recently used pair.
func (s *State) recordHint(pool, hint, worker string) (had bool) {
	h := &Hint{Pool: pool, Hint: hint, Worker: worker, Used: s.now}
	old, had := s.hints.get(h)
	if had {
		s.hintsByUse.del(old)
	}
	s.hints.set(h)
	s.hintsByUse.set(h)
	s.hintsByWorker.set(h)
	if !had && s.countHints(pool, +1) > MaxHints {
		for oldest := range s.hintsByUse.from(&Hint{Pool: pool}) {
			s.dropHint(oldest)
			s.countHints(pool, -1)
			break
		}
	}
	return had
}

func (s *State) dropHint(h *Hint) {
	s.hints.del(h)
	s.hintsByUse.del(h)
	s.hintsByWorker.del(h)
}

// dropHints forgets what a worker has built with.
func (s *State) dropHints(pool, worker string) {
	var gone []*Hint
	for h := range s.hintsByWorker.from(&Hint{Pool: pool, Worker: worker}) {
		if h.Pool != pool || h.Worker != worker {
			break
		}
		gone = append(gone, h)
	}
	for _, h := range gone {
		s.dropHint(h)
	}
	s.countHints(pool, -len(gone))
}

func (s *State) countHints(pool string, delta int) int {
	p := s.changePool(pool)
	p.Hints += delta
	return p.Hints
}

func (s *State) hintKnown(pool, hint string) bool {
	for h := range s.hints.from(&Hint{Pool: pool, Hint: hint}) {
		return h.Pool == pool && h.Hint == hint
	}
	return false
}

// hintWorkers are the pairs of a hint, the most recent first.
func (s *State) hintWorkers(pool, hint string) []*Hint {
	var found []*Hint
	for h := range s.hints.from(&Hint{Pool: pool, Hint: hint}) {
		if h.Pool != pool || h.Hint != hint {
			break
		}
		found = append(found, h)
	}
	slices.SortFunc(found, func(a, b *Hint) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), cmp.Compare(a.Worker, b.Worker))
	})
	return found
}

func (s *State) hintPending(pool, hint string) bool {
	_, ok := s.pending.get(&pendingHint{pool: pool, hint: hint})
	return ok
}

func (s *State) countPending(pool, hint string, delta int) {
	if hint == "" {
		return
	}
	n := &pendingHint{pool: pool, hint: hint, jobs: delta}
	if old, ok := s.pending.get(n); ok {
		n.hint = old.hint
		n.jobs += old.jobs
	}
	if n.jobs == 0 {
		s.pending.del(n)
		return
	}
	s.pending.set(n)
}

// intern returns the state's own copy of a hint, if it has one, so that a million
// jobs with one hint hold one string.
func (s *State) intern(pool, hint string) string {
	if hint == "" {
		return ""
	}
	if n, ok := s.pending.get(&pendingHint{pool: pool, hint: hint}); ok {
		return n.hint
	}
	for h := range s.hints.from(&Hint{Pool: pool, Hint: hint}) {
		if h.Pool == pool && h.Hint == hint {
			return h.Hint
		}
		break
	}
	return hint
}
