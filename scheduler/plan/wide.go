package plan

import "slices"

// A job that needs more slots than are free on any worker is passed over for a
// while: smaller ones behind it start. When it has been first for as long as the
// policy says, a worker gathers slots for it, the one on which they are expected to be
// free soonest. Until then others fill in only what is expected to end before that,
// by what was known when the gathering began: so it comes to an end.

func passedLonger(a, b *job) bool {
	if a.passed != b.passed {
		return a.passed < b.passed
	}
	return a.id < b.id
}

// mayGather says whether a worker gathers slots for a job that is first and has too
// few of them. From the first time on it is noted how long that goes on.
func (p *Pool) mayGather(j *job) bool {
	if j.passed == 0 && p.policy.WideAfter > 0 {
		j.passed = p.now
		if j.place == waiting {
			p.wide.Set(j)
		}
	}
	return p.now-j.passed >= p.policy.WideAfter
}

// gatherForWide lets workers gather slots for the jobs that were passed over for long
// enough.
func (p *Pool) gatherForWide() {
	for {
		j := first(p.wide)
		if j == nil || p.paused || p.now-j.passed < p.policy.WideAfter {
			return
		}
		w := p.gatherer(j)
		if w == nil {
			return // all that fit gather already
		}
		p.claim(w, j)
		p.stir(w)
		p.run()
	}
}

// gatherer is the worker on which a job's slots are expected to be free soonest.
func (p *Pool) gatherer(j *job) (best *worker) {
	least := int64(0)
	for _, w := range p.workers {
		if !w.active() || w.claim != nil || !j.class.fits(w) {
			continue
		}
		wait, _ := p.gathering(w, j.slots())
		if best == nil || wait < least || wait == least && w.name < best.name {
			best, least = w, wait
		}
	}
	return best
}

// gathering is how long it should take until a worker has so many slots free;
// known is false where that depends on grants of which nothing is known yet.
func (p *Pool) gathering(w *worker, slots int) (wait int64, known bool) {
	free := w.free()
	held := slices.Clone(w.held)
	slices.SortFunc(held, func(a, b *lease) int { return int(p.left(a) - p.left(b)) })
	for _, l := range held {
		if free >= slots {
			break
		}
		free += l.slots
		wait = p.left(l)
	}
	return wait, free >= slots
}

// filler is the first job of the backlog that a gathering worker may run meanwhile.
func (p *Pool) filler(w *worker) *job {
	if p.policy.WideAfter == 0 {
		return nil
	}
	return p.firstFor(w, func(j *job) bool {
		return j.place == waiting && j.slots() <= w.free() && p.now+p.takes(w, j) <= w.gathered
	})
}

// takes is how long a job is expected to run on a worker.
func (p *Pool) takes(w *worker, j *job) int64 {
	names, costs := p.book.Look(j.client, j.hint)
	if slices.Contains(names, w.name) {
		return costs.Cached
	}
	return costs.Uncached
}
