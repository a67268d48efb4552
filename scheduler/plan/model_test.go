package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

// model is the algorithm without any index: it looks at every job and every
// worker for each decision.
type model struct {
	costs   Costs
	hints   fakeHints
	warming []warmth
	jobs    []*modelJob // that wait, in whatever place
	onWay   map[fsm.JobID]*modelJob
	workers []*modelWorker // in the order in which they joined first
	asking  []*modelWorker
	turn    uint64
	grants  []Grant
}

type warmth struct{ hint, worker string }

type modelJob struct {
	Job
	reserved *modelWorker
	claimed  *modelWorker
	cost     int64
	granted  *modelWorker
}

type modelWorker struct {
	Worker
	leases  map[fsm.LeaseID]int
	pending int
	idle    bool
	since   uint64
}

func (m *model) free(w *modelWorker) int {
	free := int(w.Slots) - w.pending
	for _, n := range w.leases {
		free -= n
	}
	return free
}

func jobOrder(a, b *modelJob) int {
	if a.Urgent != b.Urgent {
		return map[bool]int{true: -1, false: 1}[a.Urgent]
	}
	return cmp.Or(cmp.Compare(a.FairStart, b.FairStart), cmp.Compare(a.ID, b.ID))
}

func (m *model) fits(w *modelWorker, n Need) bool {
	for _, l := range n.Labels {
		if !slices.Contains(w.Labels, l) {
			return false
		}
	}
	return int(w.Slots) >= n.slots()
}

func (m *model) own(w *modelWorker) (head *modelJob, workload int64) {
	for _, j := range m.jobs {
		if j.reserved != w {
			continue
		}
		workload += j.cost
		if head == nil || jobOrder(j, head) < 0 {
			head = j
		}
	}
	return head, workload
}

func (m *model) claim(w *modelWorker) *modelJob {
	i := slices.IndexFunc(m.jobs, func(j *modelJob) bool { return j.claimed == w })
	if i < 0 {
		return nil
	}
	return m.jobs[i]
}

func (m *model) find(name string) *modelWorker {
	i := slices.IndexFunc(m.workers, func(w *modelWorker) bool { return w.Name == name })
	if i < 0 {
		return nil
	}
	return m.workers[i]
}

func (m *model) preferred(j *modelJob) *modelWorker {
	if j.Hint == "" {
		return nil
	}
	var names []string
	for _, h := range m.warming {
		if h.hint == j.Hint {
			names = append(names, h.worker)
		}
	}
	var best *modelWorker
	var least int64
	for _, name := range append(names, m.hints[j.Hint]...) {
		w := m.find(name)
		if w == nil || w.Inactive != "" || !m.fits(w, j.Need) {
			continue
		}
		if _, load := m.own(w); load <= m.costs.Uncached && (best == nil || load < least) {
			best, least = w, load
		}
	}
	return best
}

func (m *model) stir(w *modelWorker) {
	w.idle = false
	if w.Inactive == "" && !slices.Contains(m.asking, w) {
		m.asking = append(m.asking, w)
	}
}

func (m *model) reserve(w *modelWorker, j *modelJob, cost int64) {
	j.reserved, j.claimed, j.cost = w, nil, cost
	m.stir(w)
}

func (m *model) arrive(j *modelJob) {
	var able, partial *modelWorker
	for _, w := range m.workers {
		if !w.idle || !m.fits(w, j.Need) {
			continue
		}
		if m.free(w) >= j.Need.slots() {
			if able == nil || w.since < able.since {
				able = w
			}
		} else if partial == nil || w.since < partial.since {
			partial = w
		}
	}
	if able == nil && partial == nil {
		return
	}
	if w := m.preferred(j); w != nil {
		m.reserve(w, j, m.costs.Cached)
	} else if able != nil {
		m.reserve(able, j, m.costs.Uncached)
	} else {
		partial.idle = false
		j.claimed = partial
	}
}

func (m *model) next(w *modelWorker) *modelJob {
	for {
		own, _ := m.own(w)
		claim := m.claim(w)
		switch {
		case claim != nil && own != nil && jobOrder(own, claim) < 0:
			return own
		case claim != nil:
			return claim
		case own != nil:
			return own
		}
		var head *modelJob
		for _, j := range m.jobs {
			if j.reserved != nil || !m.fits(w, j.Need) || (j.claimed != nil && j.Need.slots() > m.free(w)) {
				continue
			}
			if head == nil || jobOrder(j, head) < 0 {
				head = j
			}
		}
		if head == nil || head.claimed != nil {
			return head
		}
		preferred := m.preferred(head)
		if preferred == nil {
			return head
		}
		m.reserve(preferred, head, m.costs.Cached)
	}
}

func (m *model) run() {
	for len(m.asking) > 0 {
		w := m.asking[0]
		m.asking = m.asking[1:]
		m.ask(w)
	}
}

func (m *model) ask(w *modelWorker) {
	for w.Inactive == "" && m.free(w) > 0 {
		j := m.next(w)
		if j == nil {
			w.idle = true
			if w.since == 0 {
				m.turn++
				w.since = m.turn
			}
			return
		}
		if j.Need.slots() > m.free(w) {
			w.idle = false
			if j.reserved == nil {
				j.claimed = w
			}
			return
		}
		if j.claimed != nil && j.claimed != w {
			m.stir(j.claimed)
		}
		m.grant(w, j)
	}
}

func (m *model) grant(w *modelWorker, j *modelJob) {
	m.remove(j.ID)
	j.reserved, j.claimed, j.cost, j.granted = nil, nil, 0, w
	m.onWay[j.ID] = j
	w.pending += j.Need.slots()
	w.since = 0
	m.warming = append(m.warming, warmth{j.Hint, w.Name})
	m.grants = append(m.grants, Grant{j.ID, w.Name})
}

func (m *model) remove(id fsm.JobID) *modelJob {
	i := slices.IndexFunc(m.jobs, func(j *modelJob) bool { return j.ID == id })
	if i < 0 {
		return nil
	}
	j := m.jobs[i]
	m.jobs = slices.Delete(m.jobs, i, i+1)
	return j
}

func (m *model) queue(j *modelJob) {
	m.jobs = append(m.jobs, j)
	m.arrive(j)
	m.run()
}

func (m *model) cancel(id fsm.JobID) {
	if j := m.remove(id); j != nil {
		if w := cmp.Or(j.reserved, j.claimed); w != nil {
			m.stir(w)
		}
		m.run()
	}
}

func (m *model) settle(id fsm.JobID, waits bool) {
	j := m.onWay[id]
	delete(m.onWay, id)
	w := j.granted
	j.granted = nil
	w.pending -= j.Need.slots()
	i := slices.Index(m.warming, warmth{j.Hint, w.Name})
	m.warming = slices.Delete(m.warming, i, i+1)
	m.stir(w)
	if waits {
		m.jobs = append(m.jobs, j)
		m.arrive(j)
	}
	m.run()
}

func (m *model) setInactive(w *modelWorker, why string) {
	if w.Inactive == why {
		return
	}
	was := w.Inactive
	w.Inactive = why
	if why == "" {
		m.stir(w)
	} else if was == "" {
		m.disperse(w)
	}
	m.run()
}

func (m *model) disperse(w *modelWorker) {
	w.idle, w.since = false, 0
	var back []*modelJob
	for _, j := range m.jobs {
		if j.reserved == w || j.claimed == w {
			back = append(back, j)
		}
	}
	for _, j := range back {
		j.reserved, j.claimed, j.cost = nil, nil, 0
		m.remove(j.ID)
	}
	slices.SortFunc(back, jobOrder)
	for _, j := range back {
		m.queue(j)
	}
}

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
		pool:  New(costs, hints),
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
	w.suggest()
}

// suggest compares a suggestion with what becomes of a job that arrives last.
func (w *twins) suggest() {
	w.nextID++
	late := Job{ID: w.nextID, FairStart: 1 << 40, Hint: fmt.Sprint("h", w.random.IntN(4)), Need: Need{Slots: w.slots(4), Labels: w.labels(2)}}
	got := w.pool.Suggest(late.Hint, late.Need).Worker()
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

func (w *twins) slots(most int) uint32 {
	if !w.multi {
		return 1
	}
	return uint32(1 + w.random.IntN(most))
}

func (w *twins) join(name string) {
	offer := Worker{Name: name, Slots: w.slots(5), Labels: w.labels(3)}
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
		Need: Need{Slots: w.slots(4), Labels: w.labels(2)},
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
		w.pool.Hold(lease, j.granted.Name, id, j.Need.Slots)
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
	queued := 0
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
