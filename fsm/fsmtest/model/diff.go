package model

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
)

// Diff compares every view of a state with the model, and tells the first
// difference.
func (m *Model) Diff(s *fsm.State) error {
	for _, view := range []struct{ what, got, want string }{
		{"jobs", lines(slices.Collect(s.AllJobs()), fsmtest.RenderJob), lines(m.those(func(*fsm.Job) bool { return true }), fsmtest.RenderJob)},
		{"pools", lines(slices.Collect(s.Pools()), showPool), m.showPools()},
		{"workers", lines(slices.Collect(s.Workers("")), showWorker), m.showWorkers()},
		{"shares", lines(slices.Collect(s.Shares("")), showShare), m.showShares()},
		{"clients", lines(slices.Collect(s.Clients()), showClient), m.showClients()},
		{"capabilities", lines(slices.Collect(s.Capabilities()), showCapability), lines(m.caps, showCapability)},
		{"costs", lines(slices.Collect(s.Costs("")), showCost), m.showCosts()},
		{"due", fmt.Sprint(s.Due()), fmt.Sprint(m.due())},
	} {
		if view.got != view.want {
			return fmt.Errorf("%s are\n%s\nand should be\n%s", view.what, view.got, view.want)
		}
	}
	for name := range m.pools {
		if err := errors.Join(m.diffPool(s, name), m.diffPermits(s, name)); err != nil {
			return fmt.Errorf("pool %s: %w", name, err)
		}
	}
	return m.diffPages(s)
}

// diffPool compares the queue, the running jobs, the hints and the retention.
func (m *Model) diffPool(s *fsm.State, name string) error {
	queue := m.queueOf(name)
	if got := slices.Collect(s.Queue(name)); ids(got) != ids(queue) {
		return fmt.Errorf("queue is %s and should be %s", ids(got), ids(queue))
	}
	for i, j := range queue {
		real, err := s.Job(j.ID)
		if err != nil || s.Ahead(real) != i {
			return fmt.Errorf("%d jobs are ahead of job %d and should be %d (%v)", s.Ahead(real), j.ID, i, err)
		}
	}
	held := m.those(func(j *fsm.Job) bool { return j.Pool == name && j.State == running })
	slices.SortFunc(held, func(a, b *fsm.Job) int {
		return cmp.Or(cmp.Compare(a.Worker(), b.Worker()), cmp.Compare(a.Lease, b.Lease))
	})
	if got := slices.Collect(s.Leases(name)); ids(got) != ids(held) {
		return fmt.Errorf("running are %s and should be %s", ids(got), ids(held))
	}
	for _, most := range []int{3, 1000} {
		if got, want := s.Trimmable(m.now, name, most), m.trimmable(m.now, name, most); !slices.Equal(got, want) {
			return fmt.Errorf("trimmable are %d and should be %d", got, want)
		}
	}
	return m.diffHints(s, name)
}

func (m *Model) queueOf(name string) []*fsm.Job {
	queue := m.those(func(j *fsm.Job) bool { return j.Pool == name && j.State == queued })
	slices.SortStableFunc(queue, func(a, b *fsm.Job) int {
		if a.Urgent != b.Urgent {
			return map[bool]int{true: -1, false: 1}[a.Urgent]
		}
		return cmp.Compare(a.FairStart, b.FairStart)
	})
	return queue
}

func (m *Model) diffHints(s *fsm.State, name string) error {
	for n := range 5 {
		hint := fmt.Sprintf("hint%d", n)
		var want []string
		for pair, used := range m.hints {
			if pair[0] == name && pair[1] == hint {
				want = append(want, fmt.Sprintf("%020d %s", 1<<60-used, pair[2]))
			}
		}
		slices.Sort(want)
		var got []string
		for h := range s.HintWorkers(name, hint) {
			got = append(got, fmt.Sprintf("%020d %s", 1<<60-h.Used, h.Worker))
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("workers of %s are %v and should be %v", hint, got, want)
		}
	}
	return nil
}

// diffPages reads some listings page by page.
func (m *Model) diffPages(s *fsm.State) error {
	for _, f := range []fsm.Filter{
		{Limit: 7}, {Client: "client1", Limit: 3}, {Pool: "pool2", Limit: 5},
		{Hint: "hint2", Limit: 2}, {Since: m.now - 30_000, Limit: 3}, {Also: func(j *fsm.Job) bool { return j.Urgent }, Limit: 2},
		{Pool: "pool1", Client: "client2"}, {States: states(settled, running), Limit: 4},
	} {
		want := m.those(func(j *fsm.Job) bool {
			return (f.Pool == "" || f.Pool == j.Pool) && (f.Client == "" || f.Client == j.Client) &&
				(f.Hint == "" || f.Hint == j.Hint) && j.Submitted >= f.Since && (f.Also == nil || f.Also(j)) &&
				(f.States == nil || slices.Contains(f.States, j.State))
		})
		slices.Reverse(want)
		var got []*fsm.Job
		for page, next := s.Jobs(f); ; page, next = s.Jobs(f) {
			got = append(got, page...)
			if f.Before = next; next == 0 {
				break
			}
		}
		if ids(got) != ids(want) {
			return fmt.Errorf("jobs of %+v are %s and should be %s", f, ids(got), ids(want))
		}
	}
	return nil
}

func (m *Model) due() (earliest int64) {
	for _, j := range m.those(func(j *fsm.Job) bool { return j.State == backoff }) {
		if earliest == 0 || j.NotBefore < earliest {
			earliest = j.NotBefore
		}
	}
	if waits := m.impatient(); len(waits) > 0 && (earliest == 0 || givesUp(waits[0]) < earliest) {
		earliest = givesUp(waits[0])
	}
	return earliest
}

func (m *Model) workersByName() []*fsm.Worker {
	return slices.SortedFunc(maps.Values(m.workers), func(a, b *fsm.Worker) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name))
	})
}

func lines[T any](items []T, show func(T) string) string {
	var b strings.Builder
	for _, item := range items {
		b.WriteString(show(item) + "\n")
	}
	return b.String()
}

func ids(jobs []*fsm.Job) string {
	return lines(jobs, func(j *fsm.Job) string { return j.ID.String() })
}
