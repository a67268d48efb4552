package plan

import (
	"math"

	"github.com/tidwall/btree"

	"github.com/weirbuild/weir/fsm"
)

// A client's jobs with a priority go before its others, in their places: what comes
// first in the backlog says whose turn it is, and of that client the job with the
// highest priority is taken. The two trade their fair start times, here at once and
// in the state when the grant is applied.

// raisedLess orders jobs with a priority by client, so that its best is found.
func raisedLess(a, b *job) bool {
	if a.client != b.client {
		return a.client < b.client
	}
	return goesFirst(a, b)
}

// favourite is the first job of a tree that goes before j: of its client, as urgent,
// with a higher priority.
func favourite(raised *btree.BTreeG[*job], j *job) (best *job) {
	head := &job{client: j.client, urgent: j.urgent, priority: math.MaxUint32, fairStart: math.MinInt64}
	raised.Ascend(head, func(o *job) bool {
		if o.client == j.client && o.urgent == j.urgent && o.priority > j.priority {
			best = o
		}
		return false
	})
	return best
}

// favoured is what a worker takes when it is the turn of j, a waiting job.
func (p *Pool) favoured(w *worker, j *job) *job {
	if j == nil || p.raised == 0 || j.place != waiting {
		return j
	}
	best := j
	for _, c := range w.fits {
		if c.slots > max(w.free(), j.slots()) {
			continue
		}
		if o := favourite(c.raised, best); o != nil {
			best = o
		}
	}
	p.trade(best, j)
	return best
}

// trade gives best the place of j, and j its own.
func (p *Pool) trade(best, j *job) {
	if best == j || !before(j, best) {
		return
	}
	first, second := j.fairStart, best.fairStart
	p.rekey(j, second)
	p.rekey(best, first)
	best.inPlaceOf = j.id
}

// Move tells that a job has another fair start time.
func (p *Pool) Move(id fsm.JobID, fairStart int64) {
	if j, ok := p.jobs[id]; ok && j.place != granted && j.fairStart != fairStart {
		p.rekey(j, fairStart)
		p.run()
	}
}

// rekey changes a job's fair start time, by which it lies in trees.
func (p *Pool) rekey(j *job, fairStart int64) {
	trees := []*btree.BTreeG[*job]{}
	for _, l := range j.lanes {
		if l != nil {
			trees = append(trees, l.open, l.shut)
		}
	}
	switch j.place {
	case waiting:
		trees = append(trees, j.class.waiting, j.class.raised)
	case claiming:
		trees = append(trees, j.class.claiming)
	case reserved:
		trees = append(trees, j.worker.reserved, j.worker.raised)
	}
	var in []*btree.BTreeG[*job]
	for _, t := range trees {
		if _, ok := t.Delete(j); ok {
			in = append(in, t)
		}
	}
	j.fairStart = fairStart
	for _, t := range in {
		t.Set(j)
	}
}
