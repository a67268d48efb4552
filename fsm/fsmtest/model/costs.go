package model

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// plain stands for no hint in the key of a client's builds without one. It is no
// hint that anyone may use.
const plain = "\x7f"

// averages are decayed averages of measured durations in ms; 0: not measured.
type averages struct{ cached, uncached, used int64 }

func (m *Model) learn(j *fsm.Job, a *fsm.Attempt) {
	measures := []pb.OutcomeKind{
		pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED, pb.OutcomeKind_OUTCOME_TIMED_OUT,
	}
	if !m.limits(j.Pool).Learn || !slices.Contains(measures, a.Outcome.GetKind()) {
		return
	}
	keys := [][3]string{{j.Pool, j.Client, ""}, {j.Pool, "", j.Hint}}
	if j.Hint == "" {
		keys = [][3]string{{j.Pool, j.Client, plain}}
	}
	for _, key := range keys {
		known := m.costs[key]
		if known == nil {
			known = &averages{}
			m.costs[key] = known
		}
		known.used = m.now
		which := &known.uncached
		if a.Cached {
			which = &known.cached
		}
		switch took := max(a.Ended-a.Started, 1); {
		case *which == 0:
			*which = took
		case a.Cached && took > *which:
			*which += (took - *which) / 16
		default:
			*which += (took - *which) / 4
		}
	}
}

func (m *Model) estimate(j *fsm.Job, limits fsm.Limits) (cached, uncached int64) {
	cached, uncached = limits.CachedCost, limits.UncachedCost
	keys := [][3]string{{j.Pool, j.Client, ""}, {j.Pool, "", j.Hint}}
	if j.Hint == "" {
		keys = [][3]string{{j.Pool, j.Client, plain}}
	}
	for _, key := range keys {
		if known := m.costs[key]; known != nil && limits.Learn {
			if known.cached > 0 {
				cached = known.cached
			}
			if known.uncached > 0 {
				uncached = known.uncached
			}
		}
	}
	if limits.Learn {
		cached = min(cached, uncached)
	}
	return cached, uncached
}

func showCost(c *fsm.Cost) string {
	hint := c.Hint
	if c.Plain {
		hint = plain
	}
	return costLine([3]string{c.Pool, c.Client, hint}, &averages{c.Cached, c.Uncached, c.Used})
}

func costLine(key [3]string, a *averages) string {
	return fmt.Sprintf("%q: cached %d, uncached %d, used %d", key, a.cached, a.uncached, a.used)
}

func (m *Model) showCosts() string {
	keys := slices.SortedFunc(maps.Keys(m.costs), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	return lines(keys, func(key [3]string) string { return costLine(key, m.costs[key]) })
}
