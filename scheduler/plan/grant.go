package plan

import (
	"slices"

	"github.com/weirbuild/weir/fsm"
)

// grant decides that the worker runs the job.
func (p *Pool) grant(w *worker, j *job) {
	claimant := j.worker
	p.unlink(j)
	for s := range stages {
		p.leave(j, s)
	}
	p.pass(j.client, j.key, j.most, func(g *gate) { g.pending++ })
	if claimant != nil && claimant != w {
		p.stir(claimant)
	}
	j.place, j.worker = granted, w
	p.queued--
	p.occupy(w, j.hint, j.slots())
	p.grants = append(p.grants, Grant{Job: j.id, Worker: w.name, InPlaceOf: j.inPlaceOf, Leash: j.class.leash})
}

// occupy takes slots for something that is on its way, and counts the worker as
// having the hint at once.
func (p *Pool) occupy(w *worker, hint string, slots int) {
	w.pending += slots
	w.since = 0
	if hint != "" {
		p.warming[hint] = append(p.warming[hint], w.name)
	}
}

func (p *Pool) vacate(w *worker, hint string, slots int) {
	w.pending -= slots
	if warm := p.warming[hint]; len(warm) > 1 {
		i := slices.Index(warm, w.name)
		p.warming[hint] = slices.Delete(warm, i, i+1)
	} else {
		delete(p.warming, hint)
	}
	p.forgetIfGone(w)
	p.stir(w)
}

// Take returns the decisions since the last call. Each counts as made until
// Settle.
func (p *Pool) Take() []Grant {
	grants := p.grants
	p.grants = nil
	return grants
}

// Settle tells that the outcome of a grant is known. If it became a lease, Hold
// must have told before; otherwise waits says whether the job is still to be
// granted, and if so it takes its place in the backlog again.
func (p *Pool) Settle(id fsm.JobID, waits bool) {
	j, ok := p.jobs[id]
	if !ok || j.place != granted {
		return
	}
	w := j.worker
	j.place, j.worker, j.inPlaceOf = nowhere, nil, 0
	p.queued++
	p.pass(j.client, j.key, j.most, func(g *gate) { g.pending-- })
	p.vacate(w, j.hint, j.slots())
	if waits {
		p.enter(j)
	} else {
		p.forget(j)
	}
	p.run()
}

// Suggestion is the decision for a submit that is on its way: the grant that may
// ride with it, or that there is none.
type Suggestion struct {
	worker *worker
	hint   string
	slots  int
	client string
	key    string // of concurrency
	most   int
}

// Worker is the one to grant to, or empty.
func (s *Suggestion) Worker() string {
	if s.worker == nil {
		return ""
	}
	return s.worker.name
}

// Suggest decides as if a job with this need arrived now. It names a worker only
// if the job would start at once, and if every submit before it that is still on
// its way without a worker could have a slot too. The decision stands until
// Withdraw.
func (p *Pool) Suggest(j Job) *Suggestion {
	s := &Suggestion{hint: j.Hint, slots: j.Need.slots(), client: j.Client, key: j.Concurrency, most: int(j.AtMost)}
	c := p.classOf(j.Need)
	if s.worker = p.suggested(j, c); s.worker == nil {
		p.unplaced += s.slots
		return s
	}
	p.rouse(s.worker)
	p.occupy(s.worker, s.hint, s.slots)
	p.pass(s.client, s.key, s.most, func(g *gate) { g.pending++ })
	p.stir(s.worker)
	p.run()
	return s
}

func (p *Pool) suggested(j Job, c *class) *worker {
	for _, g := range p.gatesOf(j.Client, j.Concurrency, int(j.AtMost)) {
		if g.room() == 0 {
			return nil
		}
	}
	p.dropGate(j.Client, j.Concurrency)
	if c.free-p.unplaced < c.slots {
		return nil
	}
	if w, _ := p.preferred(j.Client, j.Hint, c); w != nil {
		if w.idle && w.idleFree >= c.slots {
			return w
		}
		return nil
	}
	return first(c.able)
}

// Withdraw ends a suggestion, once the outcome of its submit is known. If it
// became a lease, Hold must have told before.
func (p *Pool) Withdraw(s *Suggestion) {
	if s.worker == nil {
		p.unplaced -= s.slots
		return
	}
	p.pass(s.client, s.key, s.most, func(g *gate) { g.pending-- })
	p.vacate(s.worker, s.hint, s.slots)
	p.run()
}
