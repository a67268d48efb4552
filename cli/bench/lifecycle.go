package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirbuild/weir/raftnode"
)

const (
	simWorkers  = 4
	simSlots    = 512
	simLogBytes = 1024
)

func (b *bench) stores() []string {
	if len(b.Stores) > 0 {
		return b.Stores
	}
	return []string{raftnode.Bolt, raftnode.WAL}
}

func (b *bench) loads() []int {
	if len(b.Loads) > 0 {
		return b.Loads
	}
	return []int{64, 256, 1024}
}

// lifecycle measures submit, lease, finish and a sealed log of 1 KB.
func (b *bench) lifecycle(ctx context.Context) error {
	for _, store := range b.stores() {
		for _, inFlight := range b.loads() {
			err := b.patiently(ctx, func() error { return b.lifecycleOf(ctx, store, inFlight) })
			if err != nil {
				return fmt.Errorf("%s, %d in flight: %w", store, inFlight, err)
			}
		}
	}
	return nil
}

// lifecycleOf runs the same load through the real cluster and through the
// limit's in turns, since a shared machine is not as fast one minute as the
// next, and compares the medians.
func (b *bench) lifecycleOf(ctx context.Context, store string, inFlight int) (err error) {
	name := fmt.Sprintf("%s-%d", store, inFlight)
	real, err := b.realTarget(ctx, "lifecycle-"+name, store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, real.end()) }()
	limit, err := b.bareTarget(ctx, "limit-"+name, store)
	if err != nil {
		return fmt.Errorf("the limit: %w", err)
	}
	defer func() { err = errors.Join(err, limit.end()) }()
	jobs := b.size(4000+10*inFlight, 1000+4*inFlight)
	var got, most []throughput
	for range b.size(3, 1) {
		g, err := real.run(ctx, inFlight, jobs)
		if err != nil {
			return err
		}
		m, err := limit.run(ctx, inFlight, jobs)
		if err != nil {
			return fmt.Errorf("the limit: %w", err)
		}
		if !g.perJob.like(m.perJob) {
			return fmt.Errorf("a job took %v, and %v in the run for the limit, which so is none", g.perJob, m.perJob)
		}
		got, most = append(got, g), append(most, m)
	}
	g, m := median(got), median(most)
	b.show(shareOf(fmt.Sprintf("lifecycles, %s, %d in flight", store, inFlight), g.rate, m.rate, "/s", 0.6,
		fmt.Sprintf("p50 %s, p99 %s; of the limit %s and %s", short(g.p50), short(g.p99), short(m.p50), short(m.p99))))
	b.note("a job took %v; processor time: %v; of the limit: %v", g.perJob, g.cost, m.cost)
	return nil
}

// median is the run of the median rate.
func median(runs []throughput) throughput {
	slices.SortFunc(runs, func(a, b throughput) int {
		if a.rate < b.rate {
			return -1
		}
		return 1
	})
	return runs[len(runs)/2]
}
