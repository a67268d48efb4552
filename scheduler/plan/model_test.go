package plan

import (
	"cmp"
	"slices"

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
	if n.Kind != "" && len(w.Kinds) > 0 && !slices.Contains(w.Kinds, n.Kind) {
		return false
	}
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
	m.grants = append(m.grants, Grant{Job: j.ID, Worker: w.Name})
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
