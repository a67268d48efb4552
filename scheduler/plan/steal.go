package plan

import "slices"

const (
	// huntEvery is how many ms pass before idle workers look for jobs to steal again:
	// a look costs more than the decisions that every event asks for.
	huntEvery = 1000
	// victims is how many workers, and prizes how many jobs of each, they look at.
	victims = 8
	prizes  = 8
)

func moreWork(a, b *worker) bool {
	if a.workload != b.workload {
		return a.workload > b.workload
	}
	return a.name < b.name
}

// enlist enters a worker among the loaded ones if it is one.
func (p *Pool) enlist(w *worker) {
	if p.policy.Steal && w.reserved.Len() > 0 {
		p.loaded.Set(w)
	}
}

// steal gives an idle worker one job that is reserved for a busy one and would
// wait there for longer than it is worth. Of a worker's jobs the last waits
// longest.
func (p *Pool) steal() bool {
	if !p.hunting || !p.canSteal() {
		p.hunting = false
		return false
	}
	var thief *worker
	var prize *job
	workers := 0
	p.loaded.Scan(func(w *worker) bool {
		jobs := 0
		w.reserved.Reverse(func(j *job) bool {
			if thief = p.thief(w, j); thief != nil {
				prize = j
			}
			jobs++
			return thief == nil && jobs < prizes
		})
		workers++
		return thief == nil && workers < victims
	})
	if thief == nil {
		p.hunting = false
		return false
	}
	p.rouse(thief)
	p.grant(thief, prize)
	p.stir(thief)
	return true
}

// thief is an idle worker on which a job that is reserved for w would end sooner:
// one that has its cache too, else the one that has waited longest.
func (p *Pool) thief(w *worker, j *job) *worker {
	longest := first(j.class.able)
	if longest == nil {
		return nil
	}
	names, costs := p.book.Look(j.client, j.hint)
	wait := p.delay(w, j.slots(), w.workload-j.cost)
	if wait > 0 {
		for _, name := range names {
			if v, ok := p.workers[name]; ok && v.idle && v != w && v.idleFree >= j.slots() && j.class.fits(v) {
				return v
			}
		}
	}
	if longest == w || wait <= costs.patience() {
		return nil
	}
	return longest
}

// patience is how long a job waits for its cache rather than be built without: as
// long as that would take more, and a fourth longer, since it would take the slot
// from others as well.
func (c Costs) patience() int64 { return (c.Uncached - c.Cached) * 5 / 4 }

// delay is how long a job is expected to wait for a worker: until the first of
// the builds there ends, and for the work that is reserved before it.
func (p *Pool) delay(w *worker, slots int, workload int64) int64 {
	if w.free() >= slots && workload == 0 {
		return 0
	}
	wait := workload / int64(w.slots)
	if w.free() >= slots || len(w.held) == 0 {
		return wait
	}
	soonest := slices.MinFunc(w.held, func(a, b *lease) int { return int(p.left(a) - p.left(b)) })
	return wait + p.left(soonest)
}

// left is how long a build is expected to go on. One that has taken longer than
// it should, or of which nothing is known, may well take as long again.
func (p *Pool) left(l *lease) int64 {
	ran := max(p.now-l.started, 0)
	if ran < l.takes {
		return l.takes - ran
	}
	return ran
}
