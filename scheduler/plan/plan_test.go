package plan

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

// The order of the backlog is a strict one: of two jobs exactly one is first,
// and it is transitive.
func TestOrderIsStrict(t *testing.T) {
	var jobs []*job
	for id := range fsm.JobID(3) {
		for _, urgent := range []bool{false, true} {
			for _, start := range []int64{-1, 0, 7} {
				jobs = append(jobs, &job{id: id*6 + fsm.JobID(len(jobs)), urgent: urgent, fairStart: start})
			}
		}
	}
	for _, a := range jobs {
		for _, b := range jobs {
			if a == b && before(a, b) {
				t.Errorf("%v is before itself", *a)
			}
			if a != b && before(a, b) == before(b, a) {
				t.Errorf("%v and %v have no order", *a, *b)
			}
			for _, c := range jobs {
				if before(a, b) && before(b, c) && !before(a, c) {
					t.Errorf("%v, %v, %v: not transitive", *a, *b, *c)
				}
			}
		}
	}
}

// Classes without jobs are forgotten, also by the workers.
func TestClassesAreSwept(t *testing.T) {
	p := New(Policy{}, fixed{fakeHints{}, Costs{Cached: 10, Uncached: 600}})
	p.Resume()
	label := func(i int) []fsm.Label { return []fsm.Label{{Name: "n", Value: fmt.Sprint(i)}} }
	var all []fsm.Label
	for i := range 4 * sweepFrom {
		all = append(all, label(i)...)
	}
	p.Join(Worker{Name: "w", Slots: 1, Labels: all})
	for i := range 4 * sweepFrom {
		id := fsm.JobID(i + 1)
		p.Queue(Job{ID: id, Need: Need{Slots: 1, Labels: label(i)}})
		if got := p.Take(); len(got) != 1 || got[0].Job != id {
			t.Fatalf("job %d: granted %v", id, got)
		}
		p.Settle(id, false)
	}
	if n := len(p.classes); n > sweepFrom {
		t.Errorf("%d classes are left, want at most %d", n, sweepFrom)
	}
	if n := len(p.workers["w"].fits); n > sweepFrom {
		t.Errorf("the worker looks at %d classes, want at most %d", n, sweepFrom)
	}
}

// One lifecycle as the planner sees it, with 100,000 jobs queued and 100 workers
// of 8 slots, half of the jobs with hints.
func BenchmarkLifecycle(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	hints := fakeHints{}
	for i := range 1000 {
		hints[fmt.Sprint("h", i)] = []string{fmt.Sprint("w", i%100), fmt.Sprint("w", i%77)}
	}
	p := New(Policy{}, fixed{hints, Costs{Cached: 10_000, Uncached: 600_000}})
	var next fsm.JobID
	queue := func() {
		next++
		j := Job{ID: next, FairStart: random.Int64N(1 << 30), Need: Need{Slots: 1 + uint32(random.IntN(2))}}
		if next%2 == 0 {
			j.Hint = fmt.Sprint("h", random.IntN(1000))
		}
		p.Queue(j)
	}
	for range 100_000 {
		queue()
	}
	for i := range 100 {
		p.Join(Worker{Name: fmt.Sprint("w", i), Slots: 8})
	}
	p.Resume()
	running := p.Take()
	b.ResetTimer()
	b.ReportAllocs()
	for range b.N {
		g := running[0]
		running = running[1:]
		lease := fsm.LeaseID(g.Job)
		p.Hold(Lease{ID: lease, Worker: g.Worker, Job: g.Job, Slots: uint32(p.jobs[g.Job].slots())})
		p.Settle(g.Job, false)
		queue()
		p.Release(lease)
		running = append(running, p.Take()...)
	}
}

// What an election costs with a million jobs queued.
func BenchmarkLoadMillion(b *testing.B) {
	var before, after runtime.MemStats
	for range b.N {
		runtime.GC()
		runtime.ReadMemStats(&before)
		p := New(Policy{}, fixed{fakeHints{}, Costs{Cached: 10_000, Uncached: 600_000}})
		p.Load(1_000_000, func(yield func(Job) bool) {
			for id := range fsm.JobID(1_000_000) {
				if !yield(Job{ID: id + 1, FairStart: int64(id), Need: Need{Slots: 1}}) {
					return
				}
			}
		})
		p.Resume()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "bytes/job")
		runtime.KeepAlive(p)
	}
}
