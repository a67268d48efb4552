package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// Random histories with stealing: the indexes stay sound, no job is granted twice
// at once, and a worker never starts an ordinary job while an urgent one that it
// could start lies in the backlog.
func TestStealingKeepsOrder(t *testing.T) {
	stolen := 0
	for seed := range uint64(100) {
		w := newThieves(seed)
		for range 400 {
			w.step()
			for grants := w.pool.Take(); len(grants) > 0; grants = w.pool.Take() {
				for _, g := range grants {
					w.granted(t, g)
				}
			}
			check(t, w.pool)
			w.checkLoaded(t)
		}
		stolen += w.stolen
	}
	if stolen < 100 {
		t.Errorf("only %d jobs were stolen", stolen)
	}
}

// thieves is a pool whose idle workers steal, and what it was told.
type thieves struct {
	random *rand.Rand
	pool   *Pool
	hints  fakeHints
	jobs   map[fsm.JobID]Job
	leases []fsm.LeaseID
	now    int64
	last   fsm.JobID
	stolen int
}

func newThieves(seed uint64) *thieves {
	w := &thieves{random: rand.New(rand.NewPCG(seed, 2)), hints: fakeHints{}, jobs: map[fsm.JobID]Job{}}
	w.pool = New(Policy{Steal: true}, fixed{w.hints, Costs{Cached: 1000, Uncached: 3000}})
	w.pool.Resume()
	for i := range 3 {
		w.pool.Join(Worker{Name: fmt.Sprint("w", i), Slots: uint32(1 + w.random.IntN(3))})
	}
	return w
}

func (w *thieves) step() {
	switch n := w.random.IntN(10); {
	case n < 4:
		w.last++
		j := Job{
			ID: w.last, Urgent: w.random.IntN(4) == 0, FairStart: w.random.Int64N(50),
			Hint: []string{"", "h0", "h1", "h2"}[w.random.IntN(4)], Need: Need{Slots: 1},
		}
		w.jobs[j.ID] = j
		w.pool.Queue(j)
	case n < 8 && len(w.leases) > 0:
		i := w.random.IntN(len(w.leases))
		w.pool.Release(w.leases[i])
		w.leases = slices.Delete(w.leases, i, i+1)
	default:
		before := w.pool.Queued()
		w.now += w.random.Int64N(2000)
		w.pool.Advance(w.now)
		w.stolen += before - w.pool.Queued() // time alone starts nothing else
	}
}

func (w *thieves) granted(t *testing.T, g Grant) {
	j, ok := w.jobs[g.Job]
	if !ok {
		t.Fatalf("job %d is granted twice, or never was", g.Job)
	}
	delete(w.jobs, g.Job)
	had := slices.Contains(w.hints[j.Hint], g.Worker)
	if j.Hint != "" && !had {
		w.hints[j.Hint] = append(w.hints[j.Hint], g.Worker)
	}
	w.pool.Hold(Lease{ID: fsm.LeaseID(j.ID), Worker: g.Worker, Job: j.ID, Slots: 1, Hint: j.Hint, Started: w.now, Cached: had})
	w.pool.Settle(j.ID, false)
	w.leases = append(w.leases, fsm.LeaseID(j.ID))
	if j.Urgent {
		return
	}
	for _, c := range w.pool.classes {
		if head := first(c.waiting); head != nil && head.urgent {
			t.Errorf("worker %s starts job %d while the urgent job %d waits for anyone", g.Worker, j.ID, head.id)
		}
	}
}

// checkLoaded compares the index of workers with reserved jobs with the workers.
func (w *thieves) checkLoaded(t *testing.T) {
	t.Helper()
	n := 0
	for _, worker := range w.pool.workers {
		if _, in := w.pool.loaded.Get(worker); in != (worker.reserved.Len() > 0) {
			t.Errorf("worker %s has %d jobs reserved, and is among the loaded: %v", worker.name, worker.reserved.Len(), in)
		} else if in {
			n++
		}
	}
	if n != w.pool.loaded.Len() {
		t.Errorf("%d workers are loaded, counted as %d", n, w.pool.loaded.Len())
	}
}

// A build that takes longer than expected is expected to take as long again.
func TestDelay(t *testing.T) {
	p := New(Policy{Steal: true}, fixed{fakeHints{"h": {"w"}}, Costs{Cached: 10_000, Uncached: 60_000}})
	p.Resume()
	p.Join(Worker{Name: "w", Slots: 1})
	p.Hold(Lease{ID: 1, Worker: "w", Job: 1, Slots: 1, Started: 0})
	w := p.workers["w"]
	for _, c := range []struct{ now, want time.Duration }{
		{0, 60 * time.Second}, {45 * time.Second, 15 * time.Second}, {60 * time.Second, 60 * time.Second}, {90 * time.Second, 90 * time.Second},
	} {
		p.Advance(c.now.Milliseconds())
		if got := p.delay(w, 1, 0); got != c.want.Milliseconds() {
			t.Errorf("after %v the delay is %d ms, want %v", c.now, got, c.want)
		}
	}
	p.Release(1)
	if got := p.delay(w, 1, 0); got != 0 {
		t.Errorf("the delay for an idle worker is %d ms", got)
	}
}
