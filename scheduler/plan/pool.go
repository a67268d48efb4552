package plan

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/weirbuild/weir/fsm"
)

// Costs are the estimates that weigh a cache against a wait, in milliseconds.
type Costs struct {
	Cached   int64
	Uncached int64
}

// Book knows what the pool has built before.
type Book interface {
	// Look names the workers that have a cache hint, the latest first, and says
	// what a job of the client with that hint is expected to take. It is called
	// while a decision is made and must not block.
	Look(client, hint string) (workers []string, costs Costs)
}

// Policy is what a pool's configuration chooses.
type Policy struct {
	// Steal lets an idle worker take a job that is reserved for a busy one once
	// waiting would cost more than building here, and urgent jobs go before a
	// worker's reserved ordinary ones.
	Steal bool
	// MaxRunning and MaxRunningPerClient bound the jobs that run at once; 0: no limit.
	MaxRunning          int
	MaxRunningPerClient int
	// WideAfter is how long, in ms, a job that needs several slots is passed over at the
	// head of the backlog before a worker gathers slots for it; 0: not at all.
	WideAfter int64
}

// Grant is a decision: this worker runs this job.
type Grant struct {
	Job       fsm.JobID
	Worker    string
	InPlaceOf fsm.JobID // the job of the same client with which it trades places; 0: none
	Leash     bool      // the worker must kill it when contact is lost
}

// Pool plans for one pool. It is told what happens and answers with grants. A
// new one plans nothing before Resume.
type Pool struct {
	policy Policy
	book   Book
	now    int64 // ms, as told last

	hunting bool  // idle workers look for jobs to steal
	hunted  int64 // when they did last

	jobs    map[fsm.JobID]*job
	queued  int // of them, those not granted
	classes map[string]*class
	workers map[string]*worker
	leases  map[fsm.LeaseID]*lease
	warming map[string][]string // hint -> workers with a grant on its way

	all     *gate            // of the pool
	clients map[string]*gate // of those with jobs that run or wait at a gate
	keys    map[string]*gate // by concurrency key
	own     map[string]int   // limits of clients that have their own
	lanes   map[laneKey]*lane
	laneNo  uint64
	kept    map[fsm.LeaseID]string // leases that are over and still take their key
	wide    *btree.BTreeG[*job]    // jobs of the backlog that are passed over
	shy     []*class               // those that avoid workers
	raised  int                    // jobs with a priority
	some    [3]*gate               // what gatesOf returns

	paused   bool
	asking   []*worker
	turn     uint64
	grants   []Grant
	unplaced int // slots that submits on their way need, and have no worker for
	idleFree int // free slots of all idle workers
	sweepAt  int
	loaded   *btree.BTreeG[*worker] // those with jobs reserved, the most work first; kept for stealing
}

// New returns a pool without jobs and workers.
func New(policy Policy, book Book) *Pool {
	return &Pool{
		policy: policy, book: book, paused: true, sweepAt: sweepFrom, loaded: newTree(moreWork),
		jobs:    map[fsm.JobID]*job{},
		classes: map[string]*class{},
		workers: map[string]*worker{},
		leases:  map[fsm.LeaseID]*lease{},
		warming: map[string][]string{},
		wide:    newTree(passedLonger),
		all:     newGate(policy.MaxRunning),
		clients: map[string]*gate{},
		keys:    map[string]*gate{},
		own:     map[string]int{},
		lanes:   map[laneKey]*lane{},
		kept:    map[fsm.LeaseID]string{},
	}
}

// SetPolicy changes decisions to come.
func (p *Pool) SetPolicy(policy Policy) {
	limits := policy.MaxRunning != p.policy.MaxRunning || policy.MaxRunningPerClient != p.policy.MaxRunningPerClient
	p.policy = policy
	if limits {
		p.regate()
	}
	p.loaded.Clear()
	for _, w := range p.workers {
		p.enlist(w)
	}
	p.run()
}

// Advance tells the time. Now and then idle workers take jobs that have waited too
// long for another one.
func (p *Pool) Advance(now int64) {
	p.now = max(p.now, now)
	p.gatherForWide()
	if p.now-p.hunted < huntEvery || !p.canSteal() {
		return
	}
	p.hunting, p.hunted = true, p.now
	p.run()
}

// Restless says whether the passing of time alone may lead to a decision.
func (p *Pool) Restless() bool {
	return p.canSteal() || !p.paused && p.wide.Len() > 0
}

func (p *Pool) canSteal() bool {
	return p.policy.Steal && !p.paused && p.idleFree > 0 && p.loaded.Len() > 0
}

// Reset forgets all jobs and leases but the grants on their way, keeps the
// workers, and pauses: what the state holds is to be told again, then Resume.
func (p *Pool) Reset() {
	p.paused = true
	p.loaded.Clear()
	for _, w := range p.workers {
		p.rouse(w)
		w.held = nil
		w.leased, w.workload, w.claim, w.asking = 0, 0, nil, false
		w.reserved.Clear()
		w.raised.Clear()
		w.fits = nil
	}
	p.asking = nil
	clear(p.leases)
	p.resetGates()
	p.wide.Clear()
	p.classes, p.shy = map[string]*class{}, nil
	p.queued = 0
	for id, j := range p.jobs {
		if j.place != granted {
			p.unraise(j)
			delete(p.jobs, id)
		}
	}
	for _, w := range p.workers {
		p.forgetIfGone(w)
	}
}

// Load queues jobs, about n, that come in the order of the backlog, while paused.
func (p *Pool) Load(n int, jobs iter.Seq[Job]) {
	old := p.jobs
	p.jobs = make(map[fsm.JobID]*job, n+len(old))
	maps.Copy(p.jobs, old)
	for j := range jobs {
		if r := p.add(j); r != nil {
			p.enter(r)
		}
	}
}

// Resume begins planning, after New or Reset.
func (p *Pool) Resume() {
	p.paused, p.asking = false, nil
	for _, w := range p.workers {
		w.asking = false
		w.fits = w.fits[:0]
		for _, c := range p.classes {
			if c.fits(w) {
				w.fits = append(w.fits, c)
			}
		}
	}
	p.openAll()
	for _, w := range p.byTurn() {
		p.stir(w)
	}
	p.run()
}

// byTurn are the workers, the one that has waited longest first.
func (p *Pool) byTurn() []*worker {
	return slices.SortedFunc(maps.Values(p.workers), func(a, b *worker) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.name, b.name))
	})
}

// resetGates forgets what waits at the gates and the leases that take room.
func (p *Pool) resetGates() {
	clear(p.lanes)
	clear(p.kept)
	for _, gates := range []map[string]*gate{p.clients, p.keys, {"": p.all}} {
		for name, g := range gates {
			g.leased = 0
			g.lanes.Clear()
			if g.used() == 0 && g != p.all {
				delete(gates, name)
			}
		}
	}
}

// Queue tells that a job waits. A job that is known already stays as it is.
func (p *Pool) Queue(j Job) {
	if r := p.add(j); r != nil {
		p.enter(r)
		p.run()
	}
}

func (p *Pool) add(j Job) *job {
	if _, ok := p.jobs[j.ID]; ok {
		return nil
	}
	r := &job{id: j.ID, urgent: j.Urgent, fairStart: j.FairStart, client: j.Client, hint: j.Hint, class: p.classOf(j.Need),
		priority: j.Priority, key: j.Concurrency, most: int(j.AtMost)}
	if r.priority > 0 {
		p.raised++
	}
	r.class.jobs++
	p.jobs[j.ID] = r
	p.queued++
	return r
}

// Remove tells that a job no longer waits. One that is granted stays so until
// Settle.
func (p *Pool) Remove(id fsm.JobID) {
	j, ok := p.jobs[id]
	if !ok || j.place == granted {
		return
	}
	w := j.worker
	p.unlink(j)
	p.withdraw(j)
	p.forget(j)
	if w != nil {
		p.stir(w)
	}
	p.run()
}

func (p *Pool) forget(j *job) {
	j.class.jobs--
	delete(p.jobs, j.id)
	p.queued--
	p.unraise(j)
}

func (p *Pool) unraise(j *job) {
	if j.priority > 0 {
		p.raised--
	}
}

// stay puts a job into the backlog.
func (p *Pool) stay(j *job) {
	j.place = waiting
	j.class.waiting.Load(j)
	if j.passed != 0 {
		p.wide.Set(j)
	}
	if j.priority > 0 {
		j.class.raised.Set(j)
	}
}

// unlink takes a job from the queue on which it waits.
func (p *Pool) unlink(j *job) {
	switch j.place {
	case waiting:
		j.class.waiting.Delete(j)
		j.class.raised.Delete(j)
		p.wide.Delete(j)
	case claiming:
		j.class.claiming.Delete(j)
		j.worker.claim = nil
	case reserved:
		p.weigh(j.worker, -j.cost, func() {
			j.worker.reserved.Delete(j)
			j.worker.raised.Delete(j)
		})
	}
	j.place, j.worker, j.cost = nowhere, nil, 0
}

// Queued is how many jobs wait.
func (p *Pool) Queued() int { return p.queued }

// FreeSlots is how many slots of idle workers are free.
func (p *Pool) FreeSlots() int { return p.idleFree }

// Workload is the cost of the jobs that wait for this worker, in milliseconds,
// and how many they are.
func (p *Pool) Workload(name string) (cost int64, jobs int) {
	w, ok := p.workers[name]
	if !ok {
		return 0, 0
	}
	return w.workload, w.reserved.Len()
}
