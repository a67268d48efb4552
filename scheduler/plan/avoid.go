package plan

import (
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// maxAvoided is how many workers a job avoids, the latest.
const maxAvoided = 3

// A job that a worker could not run, or failed, or that was taken off it, goes to
// another one, though that may be busy for long: its class does not fit the workers that it avoids, for as long as any
// other that does takes jobs. A worker that was lost is gone for the time being; when it is back,
// it is as good as any.

// avoided names the workers on which a waiting job's attempts have ended, sorted.
func avoided(j *fsm.Job) (names []string) {
	for i := len(j.Attempts) - 1; i >= 0 && len(names) < maxAvoided; i-- {
		a := &j.Attempts[i]
		lost := a.Outcome.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_LOST || a.Outcome.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_REVOKED
		if !lost && !slices.Contains(names, a.Worker) {
			names = append(names, a.Worker)
		}
	}
	slices.Sort(names)
	return names
}

// avoids says whether the class's jobs should not run on the worker.
func (c *class) avoids(w *worker) bool {
	return c.others > 0 && slices.Contains(c.avoid, w.name)
}

// counts says whether a worker is one of the others: it takes jobs and could run
// the class's.
func (c *class) counts(w *worker) bool {
	return w.active() && !slices.Contains(c.avoid, w.name) && c.couldRun(w)
}

// review follows when a worker begins or ceases to take jobs: those that it is to
// stand in for may be avoided again, or may not.
func (p *Pool) review(w *worker) {
	for _, c := range p.shy {
		now := c.counts(w)
		if was := c.counted[w.name]; was == now {
			continue
		}
		if now {
			c.counted[w.name] = true
		} else {
			delete(c.counted, w.name)
		}
		before := c.others
		c.others = len(c.counted)
		if (before == 0) != (c.others == 0) {
			p.refit(c)
		}
	}
}

// refit lets the workers that a class avoids look at its jobs, or look away.
func (p *Pool) refit(c *class) {
	for _, name := range c.avoid {
		w, ok := p.workers[name]
		if !ok || !w.connected {
			continue
		}
		p.rouse(w)
		w.fits = slices.DeleteFunc(w.fits, func(o *class) bool { return o == c })
		if c.fits(w) {
			w.fits = append(w.fits, c)
		}
		p.stir(w)
	}
}

// shun enters a new class among those that avoid workers.
func (p *Pool) shun(c *class) {
	if len(c.avoid) == 0 {
		return
	}
	c.counted = map[string]bool{}
	for _, w := range p.workers {
		if c.counts(w) {
			c.counted[w.name] = true
		}
	}
	c.others = len(c.counted)
	p.shy = append(p.shy, c)
}
