package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

// TestAgainstModel runs random histories through the pool and the model: every
// decision must be the same.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compare(t, seed) })
	}
}

// twins is the pool and the model, told the same.
type twins struct {
	t      *testing.T
	random *rand.Rand
	pool   *Pool
	model  *model
	hints  fakeHints
	nextID fsm.JobID
	leases []fsm.LeaseID
	multi  bool // jobs and workers of several slots and labels
}

func compare(t *testing.T, seed uint64) {
	hints := fakeHints{}
	costs := Costs{Cached: 10, Uncached: 30}
	w := &twins{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), hints: hints, multi: seed%2 == 1,
		pool:  New(Policy{}, fixed{hints, costs}),
		model: &model{costs: costs, hints: hints, onWay: map[fsm.JobID]*modelJob{}},
	}
	w.pool.Resume()
	for i := range 3 {
		w.join(fmt.Sprintf("w%d", i))
	}
	for step := range 400 {
		w.step()
		got, want := w.pool.Take(), w.model.grants
		w.model.grants = nil
		if !slices.Equal(got, want) {
			t.Fatalf("step %d: the pool grants %v, the model %v", step, got, want)
		}
		if got, want := w.pool.Queued(), len(w.model.jobs); got != want {
			t.Fatalf("step %d: the pool has %d queued, the model %d", step, got, want)
		}
		check(t, w.pool)
	}
	w.reload()
	w.suggest()
}

// reload tells a pool all anew, as after an election: it must plan as a new pool
// does that was told the same, but for the grants that are on their way.
func (w *twins) reload() {
	jobs := slices.Clone(w.model.jobs)
	slices.SortFunc(jobs, jobOrder)
	w.pool.Reset()
	w.pool.Load(len(jobs), func(yield func(Job) bool) {
		for _, j := range jobs {
			if !yield(j.Job) {
				return
			}
		}
	})
	w.model.jobs, w.model.asking = nil, nil
	for _, m := range w.model.workers {
		m.idle = false
		for id, slots := range m.leases {
			w.pool.Hold(Lease{ID: id, Worker: m.Name, Slots: uint32(slots)})
		}
	}
	w.pool.Resume()
	for _, j := range jobs {
		w.model.jobs = append(w.model.jobs, &modelJob{Job: j.Job})
	}
	waited := slices.Clone(w.model.workers)
	slices.SortFunc(waited, func(a, b *modelWorker) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.Name, b.Name))
	})
	for _, m := range waited {
		w.model.stir(m)
	}
	w.model.run()
	if got, want := w.pool.Take(), w.model.grants; !slices.Equal(got, want) {
		w.t.Fatalf("after a reload the pool grants %v, the model %v", got, want)
	}
	w.model.grants = nil
	check(w.t, w.pool)
}

// suggest compares a suggestion with what becomes of a job that arrives last.
func (w *twins) suggest() {
	w.nextID++
	late := Job{ID: w.nextID, FairStart: 1 << 40, Hint: fmt.Sprint("h", w.random.IntN(4)), Need: w.need()}
	got := w.pool.Suggest(late).Worker()
	w.model.queue(&modelJob{Job: late})
	want := ""
	if len(w.model.grants) > 0 {
		want = w.model.grants[0].Worker
	}
	if got != want {
		w.t.Fatalf("for a job that arrives now the suggestion is %q, the grant %q", got, want)
	}
}

func (w *twins) labels(most int) (labels []fsm.Label) {
	for i := range most {
		if w.multi && w.random.IntN(3) == 0 {
			labels = append(labels, fsm.Label{Name: fmt.Sprint("l", i), Value: fmt.Sprint(w.random.IntN(2))})
		}
	}
	return labels
}

func (w *twins) need() Need {
	return Need{Kind: w.kind(), Slots: w.slots(4), Labels: w.labels(2)}
}

func (w *twins) kind() string {
	if !w.multi {
		return ""
	}
	return []string{"", "a", "b"}[w.random.IntN(3)]
}

func (w *twins) kinds() []string {
	if k := w.kind(); k != "" {
		return []string{k}
	}
	return nil
}

func (w *twins) slots(most int) uint32 {
	if !w.multi {
		return 1
	}
	return uint32(1 + w.random.IntN(most))
}

func (w *twins) join(name string) {
	offer := Worker{Name: name, Slots: w.slots(5), Labels: w.labels(3), Kinds: w.kinds()}
	w.pool.Join(offer)
	m := &modelWorker{Worker: offer, leases: map[fsm.LeaseID]int{}}
	w.model.workers = append(w.model.workers, m)
	w.model.stir(m)
	w.model.run()
}

func (w *twins) step() {
	switch n := w.random.IntN(20); {
	case n < 7:
		w.submit()
	case n < 11:
		w.settle()
	case n < 15:
		w.end()
	case n < 16:
		id := fsm.JobID(w.random.IntN(int(w.nextID) + 1))
		w.pool.Remove(id)
		w.model.cancel(id)
	case n < 18:
		worker := w.model.workers[w.random.IntN(len(w.model.workers))]
		why := []string{"", "", "is draining"}[w.random.IntN(3)]
		w.pool.SetInactive(worker.Name, why)
		w.model.setInactive(worker, why)
	case n < 19:
		hint := fmt.Sprint("h", w.random.IntN(3))
		worker := w.model.workers[w.random.IntN(len(w.model.workers))].Name
		if !slices.Contains(w.hints[hint], worker) {
			w.hints[hint] = slices.Insert(w.hints[hint], 0, worker)
		}
	case len(w.model.workers) < 6:
		w.join(fmt.Sprintf("w%d", len(w.model.workers)))
	}
}

func (w *twins) submit() {
	w.nextID++
	j := Job{
		ID: w.nextID, Urgent: w.random.IntN(5) == 0, FairStart: w.random.Int64N(50),
		Need: w.need(),
	}
	if n := w.random.IntN(5); n < 3 {
		j.Hint = fmt.Sprint("h", n)
	}
	w.pool.Queue(j)
	w.model.queue(&modelJob{Job: j})
}

// settle decides one of the grants on their way.
func (w *twins) settle() {
	ids := make([]fsm.JobID, 0, len(w.model.onWay))
	for id := range w.model.onWay {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	id := ids[w.random.IntN(len(ids))]
	j := w.model.onWay[id]
	waits := false
	switch w.random.IntN(6) {
	case 0:
		waits = true
	case 1: // cancelled
	default:
		lease := fsm.LeaseID(id)
		w.pool.Hold(Lease{ID: lease, Worker: j.granted.Name, Job: id, Slots: j.Need.Slots})
		j.granted.leases[lease] = j.Need.slots()
		w.model.stir(j.granted)
		w.model.run()
		w.leases = append(w.leases, lease)
	}
	w.pool.Settle(id, waits)
	w.model.settle(id, waits)
}

func (w *twins) end() {
	if len(w.leases) == 0 {
		return
	}
	i := w.random.IntN(len(w.leases))
	lease := w.leases[i]
	w.leases = slices.Delete(w.leases, i, i+1)
	w.pool.Release(lease)
	for _, m := range w.model.workers {
		if _, ok := m.leases[lease]; ok {
			delete(m.leases, lease)
			w.model.stir(m)
		}
	}
	w.model.run()
}

// check looks for contradictions between the pool's indexes.
func check(t *testing.T, p *Pool) {
	t.Helper()
	free := 0
	for _, w := range p.workers {
		if w.idle {
			free += w.free()
		}
		if w.free() > 0 && w.active() && !w.idle && w.claim == nil && w.reserved.Len() == 0 {
			t.Errorf("worker %s has %d free slots and neither waits nor gathers", w.name, w.free())
		}
		var load int64
		w.reserved.Scan(func(j *job) bool { load += j.cost; return j.worker == w && j.place == reserved })
		if load != w.workload {
			t.Errorf("worker %s has a workload of %d, its jobs cost %d", w.name, w.workload, load)
		}
	}
	if free != p.idleFree {
		t.Errorf("idle workers have %d free slots, counted as %d", free, p.idleFree)
	}
	for _, w := range p.workers {
		for _, c := range p.classes {
			if slices.Contains(w.fits, c) != c.fits(w) {
				t.Errorf("worker %s looks at class %q: %v, and should: %v", w.name, c.key, !c.fits(w), c.fits(w))
			}
		}
	}
	queued := 0
	for _, l := range p.lanes {
		queued += l.shut.Len()
		if l.open.Len() > l.room() {
			t.Errorf("%d jobs of a lane are let through, and there is room for %d", l.open.Len(), l.room())
		}
	}
	for _, c := range p.classes {
		queued += c.waiting.Len() + c.claiming.Len()
		able := 0
		c.able.Scan(func(w *worker) bool { able += w.free(); return true })
		if able != c.free {
			t.Errorf("class %q has %d free slots, counted as %d", c.key, able, c.free)
		}
		if c.waiting.Len() > 0 && c.able.Len()+c.partial.Len() > 0 {
			t.Errorf("class %q has waiting jobs and idle workers", c.key)
		}
	}
	for _, w := range p.workers {
		queued += w.reserved.Len()
	}
	if queued != p.queued {
		t.Errorf("%d jobs are in queues, counted as %d", queued, p.queued)
	}
}
