package fsm

import (
	"fmt"
	"iter"
	"slices"
)

// Check verifies every invariant: each record by itself, each reference, each
// order, and every index and count against what the records say. It is O(n log n),
// for tests and for an operator in doubt.
func (s *State) Check() error {
	fresh, err := s.rebuild()
	if err != nil {
		return fmt.Errorf("check state: %w", err)
	}
	if err := s.sameIndexes(fresh); err != nil {
		return fmt.Errorf("check state: %w", err)
	}
	return nil
}

// rebuild makes the state again from copies of its records.
func (s *State) rebuild() (*State, error) {
	b := builder{New()}
	b.s.now, b.s.level, b.s.lastJob, b.s.epoch = s.now, s.level, s.lastJob, s.epoch
	b.s.lastLease, b.s.lastCap, b.s.adminMade, b.s.lastChange = s.lastLease, s.lastCap, s.adminMade, s.lastChange
	for _, feed := range []func() error{
		func() error { return feedAll(s.pools.values(), copying(b.pool)) },
		func() error { return feedAll(s.clients.values(), b.client) },
		func() error { return feedAll(s.shares.all(), copying(b.share)) },
		func() error { return feedAll(s.caps.values(), b.capability) },
		func() error { return feedAll(s.workers.all(), copying(b.worker)) },
		func() error { return feedAll(s.hints.all(), copying(b.hint)) },
		func() error { return feedAll(s.jobs.values(), b.job) },
		func() error { return feedAll(s.keys.all(), copying(b.key)) },
		func() error { return feedAll(s.costs.all(), copying(b.cost)) },
		func() error { return feedAll(s.changes.values(), b.change) },
	} {
		if err := feed(); err != nil {
			return nil, err
		}
	}
	return b.done()
}

func feedAll[T any](records iter.Seq[T], enter func(T) error) error {
	for r := range records {
		if err := enter(r); err != nil {
			return err
		}
	}
	return nil
}

// copying lets the builder, which takes records over, have copies.
func copying[T any](enter func(*T) error) func(*T) error {
	return func(r *T) error {
		c := *r
		return enter(&c)
	}
}

func (s *State) sameIndexes(f *State) error {
	for _, c := range []struct {
		what string
		same bool
	}{
		{"count of good admin capabilities", s.admins == f.admins},
		{"counts of pools", same(s.pools.values(), f.pools.values(), equalTo[Pool])},
		{"counts of shares", same(s.shares.all(), f.shares.all(), equalTo[Share])},
		{"counts of workers", same(s.workers.all(), f.workers.all(), func(a, b *Worker) bool {
			return a.Used == b.Used && a.Leases == b.Leases
		})},
		{"backlog", same(s.backlog.all(), f.backlog.all(), identical)},
		{"back-off", same(s.backoff.all(), f.backoff.all(), identical)},
		{"limits on waiting", same(s.patience.all(), f.patience.all(), identical)},
		{"running jobs", same(s.running.all(), f.running.all(), identical)},
		{"settled jobs", same(s.settled.all(), f.settled.all(), identical)},
		{"jobs by client", same(s.byClient.all(), f.byClient.all(), identical)},
		{"leases", samePairs(s.leases.all(), f.leases.all())},
		{"pending hints", same(s.pending.all(), f.pending.all(), equalTo[pendingHint])},
		{"hints by use", same(s.hintsByUse.all(), f.hintsByUse.all(), equalTo[Hint])},
		{"hints by worker", same(s.hintsByWorker.all(), f.hintsByWorker.all(), equalTo[Hint])},
		{"costs by use", same(s.costsByUse.all(), f.costsByUse.all(), equalTo[Cost])},
		{"capabilities by secret", samePairs(s.capsByToken.all(), f.capsByToken.all())},
		{"revoked capabilities", same(s.revoked.all(), f.revoked.all(), identical)},
		{"request keys by age", same(s.keysByAge.all(), f.keysByAge.all(), equalTo[requestKey])},
		{"concurrency keys", same(s.semaphores.all(), f.semaphores.all(), func(a, b *Semaphore) bool {
			return a.Key == b.Key && a.Most == b.Most && a.Waiting == b.Waiting && a.Running == b.Running && a.Held == b.Held
		})},
		{"leases that hold keys", samePairs(s.holds.all(), f.holds.all())},
		{"request keys by client", samePairs(s.keyCounts.all(), f.keyCounts.all())},
	} {
		if !c.same {
			return fmt.Errorf("the index is not what the records say: %s", c.what)
		}
	}
	return nil
}

func identical[T comparable](a, b T) bool { return a == b }

func equalTo[T comparable](a, b *T) bool { return *a == *b }

func same[T any](a, b iter.Seq[T], equal func(a, b T) bool) bool {
	return slices.EqualFunc(slices.Collect(a), slices.Collect(b), equal)
}

type pair[K, V comparable] struct {
	key   K
	value V
}

func samePairs[K, V comparable](a, b iter.Seq2[K, V]) bool {
	return same(pairs(a), pairs(b), identical)
}

func pairs[K, V comparable](s iter.Seq2[K, V]) iter.Seq[pair[K, V]] {
	return func(yield func(pair[K, V]) bool) {
		for k, v := range s {
			if !yield(pair[K, V]{k, v}) {
				return
			}
		}
	}
}
