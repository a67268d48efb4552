package plan

import (
	"slices"

	"github.com/tidwall/btree"

	"github.com/weirbuild/weir/fsm"
)

// Worker is what a decision must know of a connected worker.
type Worker struct {
	Name     string
	Slots    uint32
	Labels   []fsm.Label
	Kinds    []string // of the jobs that it takes; empty: all
	Keys     []string // ids of the keys that it holds, for sealed secrets
	Leashes  bool     // it kills jobs with a concurrency key when contact is lost
	Inactive string   // why it takes no jobs, in the form "is draining"; empty: it does
}

type worker struct {
	name      string
	slots     int
	labels    []fsm.Label
	kinds     []string
	keys      []string
	leashes   bool
	connected bool
	inactive  string

	leased  int // slots of its leases
	held    []*lease
	pending int // slots of grants and suggestions on their way

	reserved *btree.BTreeG[*job] // its own queue
	raised   *btree.BTreeG[*job] // those of it that have a priority
	workload int64               // cost of the jobs on it, ms
	claim    *job                // what it gathers free slots for
	gathered int64               // when that was expected to be done as it began
	fits     []*class

	asking   bool
	idle     bool   // waits for jobs
	idleFree int    // its free slots since it waits
	since    uint64 // when its wait began; 0: it does not wait
}

func waitedLonger(a, b *worker) bool { return a.since < b.since }

func (w *worker) free() int    { return w.slots - w.leased - w.pending }
func (w *worker) active() bool { return w.connected && w.inactive == "" }

// Join tells that a worker is connected, or that what it offers has changed.
func (p *Pool) Join(offer Worker) {
	w := p.worker(offer.Name)
	p.retire(w)
	w.slots, w.labels, w.kinds, w.keys = int(offer.Slots), offer.Labels, offer.Kinds, offer.Keys
	w.leashes, w.connected, w.inactive = offer.Leashes, true, offer.Inactive
	p.review(w)
	for _, c := range p.classes {
		if c.fits(w) {
			w.fits = append(w.fits, c)
		}
	}
	p.stir(w)
	p.run()
}

// SetInactive tells why a worker takes no jobs, or with "" that it does.
func (p *Pool) SetInactive(name, why string) {
	w, ok := p.workers[name]
	if !ok || w.inactive == why {
		return
	}
	was := w.active()
	w.inactive = why
	switch {
	case was && !w.active():
		p.review(w)
		p.disperse(w)
	case w.active():
		p.review(w)
		p.stir(w)
	}
	p.run()
}

// Leave tells that a worker is no longer connected. Its leases stay.
func (p *Pool) Leave(name string) {
	w, ok := p.workers[name]
	if !ok {
		return
	}
	p.retire(w)
	p.forgetIfGone(w)
	p.run()
}

// Lease is what a decision must know of a job that a worker holds.
type Lease struct {
	ID      fsm.LeaseID
	Job     fsm.JobID
	Worker  string
	Slots   uint32
	Client  string
	Hint    string
	Key     string // of concurrency; empty: none
	AtMost  uint32 // jobs with that key run at once
	Started int64  // ms
	Cached  bool   // the worker had the hint
}

type lease struct {
	worker  *worker
	place   int // in the worker's list
	slots   int
	started int64
	takes   int64 // expected; 0: not known
	client  string
	key     string
	most    int
}

// Hold tells that a job is leased to a worker, connected or not.
func (p *Pool) Hold(told Lease) {
	if _, ok := p.leases[told.ID]; ok {
		return
	}
	p.Remove(told.Job)
	w := p.worker(told.Worker)
	l := &lease{
		worker: w, place: len(w.held), slots: int(max(told.Slots, 1)), started: told.Started,
		client: told.Client, key: told.Key, most: int(told.AtMost),
	}
	if p.policy.Steal || p.policy.WideAfter > 0 {
		l.takes = p.expected(told)
	}
	p.leases[told.ID] = l
	w.held = append(w.held, l)
	w.leased += l.slots
	p.pass(l.client, l.key, l.most, func(g *gate) { g.leased++ })
	p.stir(w)
	p.run()
}

// expected is how long a build should take.
func (p *Pool) expected(l Lease) int64 {
	_, costs := p.book.Look(l.Client, l.Hint)
	if l.Cached {
		return costs.Cached
	}
	return costs.Uncached
}

// Release tells that a lease is over.
func (p *Pool) Release(id fsm.LeaseID) {
	l, ok := p.leases[id]
	if !ok {
		return
	}
	delete(p.leases, id)
	held := l.worker.held
	last := held[len(held)-1]
	held[l.place], last.place = last, l.place
	held[len(held)-1] = nil
	l.worker.held = held[:len(held)-1]
	l.worker.leased -= l.slots
	p.pass(l.client, l.key, l.most, func(g *gate) { g.leased-- })
	p.forgetIfGone(l.worker)
	p.stir(l.worker)
	p.run()
}

// worker returns the record of a name, and makes it if it is new.
func (p *Pool) worker(name string) *worker {
	w, ok := p.workers[name]
	if !ok {
		w = &worker{name: name, reserved: newTree(before), raised: newTree(raisedLess)}
		p.workers[name] = w
	}
	return w
}

// retire takes a worker out of every index, and its queue back to the backlog.
func (p *Pool) retire(w *worker) {
	p.rouse(w)
	w.connected = false
	p.review(w)
	w.fits = nil
	p.disperse(w)
}

// disperse gives the jobs that wait for a worker back to the backlog, from where
// another one may get them. They keep their order.
func (p *Pool) disperse(w *worker) {
	p.rouse(w)
	w.since = 0
	back := w.reserved.Items()
	if w.claim != nil {
		back = append(back, w.claim)
	}
	for _, j := range back {
		p.unlink(j)
	}
	slices.SortFunc(back, func(a, b *job) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	for _, j := range back {
		p.arrive(j)
		p.run()
	}
}

func (p *Pool) forgetIfGone(w *worker) {
	if !w.connected && w.leased == 0 && w.pending == 0 {
		delete(p.workers, w.name)
	}
}

// wait puts a worker among the idle ones.
func (p *Pool) wait(w *worker) {
	if w.since == 0 {
		p.turn++
		w.since = p.turn
	}
	w.idle, w.idleFree = true, w.free()
	p.idleFree += w.idleFree
	for _, c := range w.fits {
		c.admit(w)
	}
}

// rouse takes a worker from among the idle ones. It keeps its turn.
func (p *Pool) rouse(w *worker) {
	if !w.idle {
		return
	}
	for _, c := range w.fits {
		c.dismiss(w)
	}
	p.idleFree -= w.idleFree
	w.idle = false
}

// stir makes a worker look for work again; run lets it.
func (p *Pool) stir(w *worker) {
	p.rouse(w)
	if w.asking || !w.active() {
		return
	}
	w.asking = true
	p.asking = append(p.asking, w)
}
