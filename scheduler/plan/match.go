package plan

// run lets every worker that was stirred look for work, in turn, until none has
// reason to.
func (p *Pool) run() {
	if p.paused {
		return
	}
	for len(p.asking) > 0 || p.steal() {
		if len(p.asking) == 0 {
			continue
		}
		w := p.asking[0]
		p.asking = p.asking[1:]
		w.asking = false
		p.ask(w)
	}
	p.asking = p.asking[:0]
}

// ask gives a worker all the jobs it can take.
func (p *Pool) ask(w *worker) {
	p.rouse(w)
	for w.active() && w.free() > 0 {
		j := p.next(w)
		switch {
		case j == nil:
			p.wait(w)
			return
		case j.slots() <= w.free():
			p.grant(w, j)
		case w.claim == j || j.worker == w:
			p.rouse(w)
			return // it gathers for it, or has it on its own queue
		default:
			p.claim(w, j)
		}
	}
}

// next is the job that a worker runs next, or gathers slots for: one of its own
// queue, else the head of the backlog, unless that prefers another worker.
func (p *Pool) next(w *worker) *job {
	for {
		own := p.ownFirst(w)
		if w.claim != nil {
			if own != nil && before(own, w.claim) {
				return own
			}
			if w.claim.slots() > w.free() {
				if f := p.filler(w); f != nil {
					return f
				}
			}
			return w.claim
		}
		if own != nil && (own.urgent || !p.policy.Steal) {
			return own
		}
		j := p.head(w)
		if own != nil && (j == nil || !j.urgent) {
			return own
		}
		if j == nil || j.place == claiming || !p.prefer(j) {
			return j
		}
	}
}

// head is the first job of the backlog that fits the worker; while one that needs
// too many slots is passed over, the first that it has slots for.
func (p *Pool) head(w *worker) *job {
	best := p.firstFor(w, func(*job) bool { return true })
	if best != nil && best.place == waiting && best.slots() > w.free() && !p.mayGather(best) {
		best = p.firstFor(w, func(j *job) bool { return j.slots() <= w.free() })
	}
	return p.favoured(w, best)
}

// firstFor is the first job that fits the worker and is wanted, of the heads of its
// classes. One that another worker gathers slots for counts only if it could start
// here at once.
func (p *Pool) firstFor(w *worker, wanted func(*job) bool) (best *job) {
	for _, c := range w.fits {
		if j := first(c.waiting); j != nil && (best == nil || before(j, best)) && wanted(j) {
			best = j
		}
		if c.slots > w.free() {
			continue
		}
		if j := first(c.claiming); j != nil && (best == nil || before(j, best)) && wanted(j) {
			best = j
		}
	}
	return best
}

// ownFirst is the first job of the worker's own queue.
func (p *Pool) ownFirst(w *worker) *job {
	own := first(w.reserved)
	if own == nil || w.raised.Len() == 0 {
		return own
	}
	if best := favourite(w.raised, own); best != nil {
		p.trade(best, own)
		return best
	}
	return own
}

// arrive puts a job into the backlog, or to a worker that is idle.
func (p *Pool) arrive(j *job) {
	c := j.class
	able, partial := first(c.able), first(c.partial)
	switch {
	case able == nil && partial == nil:
		p.stay(j)
	case p.prefer(j):
	case able != nil:
		_, costs := p.book.Look(j.client, j.hint)
		p.reserve(able, j, costs.Uncached)
	case p.mayGather(j):
		p.claim(partial, j)
	default:
		p.stay(j)
	}
}

// prefer reserves a job for the worker that has its cache, if there is one.
func (p *Pool) prefer(j *job) bool {
	w, cost := p.preferred(j.client, j.hint, j.class)
	if w == nil {
		return false
	}
	p.unlink(j)
	p.reserve(w, j, cost)
	return true
}

// preferred is the least loaded of the workers that have the cache hint and
// would not make the job wait longer than it takes without the cache, and what
// the job costs there.
func (p *Pool) preferred(client, hint string, c *class) (best *worker, cost int64) {
	if hint == "" {
		return nil, 0
	}
	names, costs := p.book.Look(client, hint)
	least, most := int64(0), costs.Uncached
	if p.policy.Steal {
		most = costs.patience()
	}
	for _, names := range [][]string{p.warming[hint], names} {
		for _, name := range names {
			w, ok := p.workers[name]
			if !ok || !w.active() || !c.fits(w) {
				continue
			}
			load := w.workload
			if p.policy.Steal {
				load = p.delay(w, c.slots, w.workload)
			}
			if load <= most && (best == nil || load < least) {
				best, least = w, load
			}
		}
	}
	return best, costs.Cached
}

func (p *Pool) reserve(w *worker, j *job, cost int64) {
	j.place, j.worker, j.cost = reserved, w, cost
	p.weigh(w, cost, func() {
		w.reserved.Set(j)
		if j.priority > 0 {
			w.raised.Set(j)
		}
	})
	p.stir(w)
}

// weigh changes a worker's queue and its workload.
func (p *Pool) weigh(w *worker, delta int64, change func()) {
	p.loaded.Delete(w)
	change()
	w.workload += delta
	p.enlist(w)
}

// claim makes a worker start nothing that comes after j before it has enough
// free slots for it.
func (p *Pool) claim(w *worker, j *job) {
	p.rouse(w)
	w.gathered = 0
	if wait, known := p.gathering(w, j.slots()); known {
		w.gathered = p.now + wait
	}
	p.unlink(j)
	j.place, j.worker = claiming, w
	j.class.claiming.Set(j)
	w.claim = j
}
