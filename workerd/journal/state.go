package journal

import (
	"cmp"
	"maps"
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// keepSettled is how many leases that are over are remembered one by one. Older
// ones are below the floor, where every number counts as seen.
const keepSettled = 4096

// state is what the records add up to.
type state struct {
	floor   uint64
	highest uint64
	open    map[uint64]Lease       // seen, no result yet
	results map[uint64]*pb.Outcome // ended, not acknowledged
	settled map[uint64]struct{}    // over, above the floor
}

func newState() *state {
	return &state{
		open:    map[uint64]Lease{},
		results: map[uint64]*pb.Outcome{},
		settled: map[uint64]struct{}{},
	}
}

func (s *state) apply(r record) {
	s.highest = max(s.highest, r.lease)
	switch r.kind {
	case kindFloor:
		s.floor = max(s.floor, r.lease)
	case kindSeen:
		s.open[r.lease] = Lease{r.lease, r.job, r.attempt}
	case kindResult:
		delete(s.open, r.lease)
		s.results[r.lease] = r.outcome
	case kindSettled:
		delete(s.open, r.lease)
		delete(s.results, r.lease)
		s.settled[r.lease] = struct{}{}
		s.raiseFloor()
	}
}

// raiseFloor forgets the lower half of the settled leases once there are too many.
func (s *state) raiseFloor() {
	if len(s.settled) <= keepSettled {
		return
	}
	leases := slices.Sorted(maps.Keys(s.settled))
	for _, lease := range leases[:len(leases)/2] {
		s.floor = max(s.floor, lease)
		delete(s.settled, lease)
	}
}

func (s *state) seen(lease uint64) bool {
	return lease <= s.floor || has(s.open, lease) || has(s.results, lease) || has(s.settled, lease)
}

func has[V any](m map[uint64]V, lease uint64) bool {
	_, ok := m[lease]
	return ok
}

// records is the shortest journal that says the same.
func (s *state) records() []record {
	all := []record{{kind: kindFloor, lease: s.floor}}
	for _, l := range s.open {
		all = append(all, record{kind: kindSeen, lease: l.Number, job: l.Job, attempt: l.Attempt})
	}
	for lease, outcome := range s.results {
		all = append(all, record{kind: kindResult, lease: lease, outcome: outcome})
	}
	for lease := range s.settled {
		all = append(all, record{kind: kindSettled, lease: lease})
	}
	slices.SortFunc(all[1:], func(a, b record) int { return cmp.Compare(a.lease, b.lease) })
	return all
}
