package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// One job of 8 slots starts against an endless stream of jobs of one slot, on the
// only worker, within the time that the policy says and one round of builds.
func TestWideJobStarts(t *testing.T) {
	const build, after = 10_000, 60_000 // ms
	p := New(Policy{WideAfter: after, Steal: true}, fixed{fakeHints{}, Costs{Cached: build, Uncached: build}})
	p.Resume()
	p.Advance(1)
	p.Join(Worker{Name: "w", Slots: 8})
	next, ends := fsm.JobID(1), map[int64][]fsm.LeaseID{}
	small := func() {
		next++
		p.Queue(Job{ID: next, FairStart: int64(next), Client: "c", Need: Need{Slots: 1}})
	}
	take := func(now int64) (wide bool) {
		for _, g := range p.Take() {
			slots := p.jobs[g.Job].slots()
			p.Hold(Lease{ID: fsm.LeaseID(g.Job), Job: g.Job, Worker: g.Worker, Slots: uint32(slots), Started: now})
			p.Settle(g.Job, false)
			ends[now+build] = append(ends[now+build], fsm.LeaseID(g.Job))
			if slots == 8 {
				return true
			}
		}
		return false
	}
	const step = 500
	starts := 0
	for now := int64(step); now < 10*after; now += step {
		p.Advance(now)
		for len(p.jobs) < 20 {
			small() // there is always more that is small
		}
		if now == 20*step {
			p.Queue(Job{ID: 1, Client: "d", Need: Need{Slots: 8}})
		}
		for _, id := range ends[now] {
			p.Release(id)
			if now%1000 == 0 {
				small()
			}
		}
		if len(p.leases) < 8 && now < 8*step {
			starts++ // the first builds begin at different times
		}
		if take(now) {
			waited := time.Duration(now-20*step) * time.Millisecond
			t.Logf("the wide job waited %v", waited)
			if waited > (after+2*build)*time.Millisecond {
				t.Errorf("the wide job waited %v", waited)
			}
			return
		}
	}
	t.Fatal("the wide job never started")
}

// Grants among 100,000 jobs that fit no worker take at most twice as long as without.
func BenchmarkUnfit(b *testing.B) {
	lifecycle := func(b *testing.B, unfit int) time.Duration {
		p := New(Policy{Steal: true, WideAfter: 60_000}, fixed{fakeHints{}, Costs{Cached: 10_000, Uncached: 600_000}})
		p.Resume()
		for i := range unfit {
			p.Queue(Job{ID: fsm.JobID(1_000_000 + i), Client: "c", Need: Need{Slots: uint32(9 + i%50), Labels: []fsm.Label{{Name: "os", Value: fmt.Sprint(i % 20)}}}})
		}
		for i := range 100 {
			p.Join(Worker{Name: fmt.Sprint("w", i), Slots: 8})
		}
		begun := time.Now()
		for i := range b.N {
			id := fsm.JobID(i + 1)
			p.Queue(Job{ID: id, Client: "d", Need: Need{Slots: 1}})
			g := p.Take()
			if len(g) != 1 {
				b.Fatalf("%d grants", len(g))
			}
			p.Hold(Lease{ID: fsm.LeaseID(id), Job: id, Worker: g[0].Worker, Slots: 1, Client: "d"})
			p.Settle(id, false)
			p.Release(fsm.LeaseID(id))
			p.Take()
		}
		return time.Since(begun)
	}
	bare, full := lifecycle(b, 0), lifecycle(b, 100_000)
	b.ReportMetric(float64(full)/float64(bare), "times-as-long")
	b.ReportMetric(float64(full.Nanoseconds())/float64(b.N), "ns/grant")
}
