package plan

import (
	"slices"

	"github.com/tidwall/btree"

	"github.com/weirbuild/weir/fsm"
)

// gate bounds how many jobs run at once: those with one concurrency key, those of
// one client, or all of the pool.
type gate struct {
	most    int // 0: any number
	leased  int // leases, and those that are over and still take the key
	pending int // grants and suggestions on their way
	lanes   *btree.BTreeG[*lane]
}

func newGate(most int) *gate {
	return &gate{most: most, lanes: newTree(func(a, b *lane) bool { return a.no < b.no })}
}

func (g *gate) used() int { return g.leased + g.pending }

// room is how many more jobs may start.
func (g *gate) room() int {
	if g.most == 0 {
		return int(^uint(0) >> 1)
	}
	return max(g.most-g.used(), 0)
}

// Jobs pass the gates in two stages: first that of their concurrency key, then those
// of their client and the pool. Behind the last they are in the backlog.
const (
	keyStage = iota
	limitStage
	stages
)

// lane is the jobs of one client and one class that wait at the same gates. As many
// of them as there is room for are let through, though not all may start: who looks
// for work sees no job that could not start now, and looks past none.
type lane struct {
	laneKey
	no    uint64
	gates []*gate
	open  *btree.BTreeG[*job] // let through
	shut  *btree.BTreeG[*job]
}

type laneKey struct {
	stage  int
	class  *class
	client string
	key    string // of the first stage
}

func (l *lane) room() int {
	room := l.gates[0].room()
	for _, g := range l.gates[1:] {
		room = min(room, g.room())
	}
	return room
}

// goesFirst is the order among the jobs of one client: as the backlog's, but by
// priority before the fair start time.
func goesFirst(a, b *job) bool {
	switch {
	case a.urgent != b.urgent:
		return a.urgent
	case a.priority != b.priority:
		return a.priority > b.priority
	}
	return before(a, b)
}

// enter takes in a job that waits, and lets it to the backlog once no gate is shut.
func (p *Pool) enter(j *job) { p.through(j, 0) }

func (p *Pool) through(j *job, stage int) {
	for ; stage < stages; stage++ {
		if gates := p.gatesAt(j, stage); len(gates) > 0 {
			l := p.lane(j, stage, gates)
			j.lanes[stage], j.place = l, gated
			l.shut.Set(j)
			p.balance(l)
			return
		}
	}
	if p.paused {
		p.stay(j)
		return
	}
	p.arrive(j)
}

func (p *Pool) gatesAt(j *job, stage int) (gates []*gate) {
	if stage == keyStage {
		if j.key != "" {
			gates = append(gates, p.keyGate(j.key, j.most))
		}
		return gates
	}
	for _, g := range []*gate{p.clientGate(j.client), p.all} {
		if g.most > 0 {
			gates = append(gates, g)
		}
	}
	return gates
}

func (p *Pool) keyGate(key string, most int) *gate {
	g, ok := p.keys[key]
	if !ok {
		g = newGate(most)
		p.keys[key] = g
	}
	g.most = most
	return g
}

func (p *Pool) clientGate(client string) *gate {
	g, ok := p.clients[client]
	if !ok {
		g = newGate(p.mostOf(client))
		p.clients[client] = g
	}
	return g
}

func (p *Pool) mostOf(client string) int {
	if own := p.own[client]; own > 0 {
		return own
	}
	return p.policy.MaxRunningPerClient
}

func (p *Pool) lane(j *job, stage int, gates []*gate) *lane {
	k := laneKey{stage: stage, class: j.class, client: j.client}
	if stage == keyStage {
		k.key = j.key
	}
	l, ok := p.lanes[k]
	if !ok {
		p.laneNo++
		l = &lane{laneKey: k, no: p.laneNo, gates: gates, open: newTree(goesFirst), shut: newTree(goesFirst)}
		p.lanes[k] = l
		for _, g := range gates {
			g.lanes.Set(l)
		}
	}
	return l
}

// balance lets through as many jobs of a lane as there is room for: the first ones.
func (p *Pool) balance(l *lane) {
	if p.paused {
		return
	}
	for _, j := range p.open(l) {
		p.through(j, l.stage+1)
	}
}

// open moves jobs of a lane to where there is room for them, and takes back those
// for which there is none. It returns those to be passed on.
func (p *Pool) open(l *lane) (next []*job) {
	room := l.room()
	for l.open.Len() > room {
		last, _ := l.open.PopMax()
		l.shut.Set(last)
		p.pull(last, l.stage)
	}
	for l.shut.Len() > 0 {
		first, _ := l.shut.Min()
		if l.open.Len() == room {
			last, ok := l.open.Max()
			if !ok || !goesFirst(first, last) {
				break
			}
			l.open.Delete(last)
			l.shut.Set(last)
			p.pull(last, l.stage)
		}
		l.shut.Delete(first)
		l.open.Set(first)
		next = append(next, first)
	}
	return next
}

// pull takes a job back from behind a gate.
func (p *Pool) pull(j *job, stage int) {
	for s := stage + 1; s < stages; s++ {
		if l := p.leave(j, s); l != nil {
			p.balance(l)
		}
	}
	w := j.worker
	p.unlink(j)
	j.place = gated
	if w != nil {
		p.stir(w)
	}
}

// leave takes a job out of the lane in which it is at a stage, and returns that
// lane if others are in it.
func (p *Pool) leave(j *job, stage int) *lane {
	l := j.lanes[stage]
	if l == nil {
		return nil
	}
	j.lanes[stage] = nil
	l.open.Delete(j)
	l.shut.Delete(j)
	if l.open.Len()+l.shut.Len() > 0 {
		return l
	}
	delete(p.lanes, l.laneKey)
	for _, g := range l.gates {
		g.lanes.Delete(l)
	}
	p.dropGate(l.client, l.key)
	return nil
}

// withdraw takes a job out of its lanes, and lets others through in its place.
func (p *Pool) withdraw(j *job) {
	for s := range stages {
		if l := p.leave(j, s); l != nil {
			p.balance(l)
		}
	}
}

// pass changes what takes room at the gates of a client's job, and lets others
// through, or takes them back.
func (p *Pool) pass(client, key string, most int, change func(*gate)) {
	for _, g := range p.gatesOf(client, key, most) {
		change(g)
		p.rebalance(g)
	}
	p.dropGate(client, key)
}

func (p *Pool) gatesOf(client, key string, most int) []*gate {
	gates := append(p.some[:0], p.all, p.clientGate(client))
	if key != "" {
		gates = append(gates, p.keyGate(key, most))
	}
	return gates
}

func (p *Pool) rebalance(g *gate) {
	if p.paused || g.lanes.Len() == 0 {
		return
	}
	type opened struct {
		job   *job
		stage int
	}
	var next []opened
	for _, l := range g.lanes.Items() {
		for _, j := range p.open(l) {
			next = append(next, opened{j, l.stage + 1})
		}
	}
	slices.SortFunc(next, func(a, b opened) int {
		if before(a.job, b.job) {
			return -1
		}
		return 1
	})
	for _, o := range next {
		if l := o.job.lanes[o.stage-1]; l != nil && o.job.place == gated {
			if _, still := l.open.Get(o.job); still {
				p.through(o.job, o.stage)
			}
		}
	}
}

// dropGate forgets gates that nothing waits at and nothing takes room of.
func (p *Pool) dropGate(client, key string) {
	if g, ok := p.clients[client]; ok && g.used() == 0 && g.lanes.Len() == 0 {
		delete(p.clients, client)
	}
	if g, ok := p.keys[key]; ok && g.used() == 0 && g.lanes.Len() == 0 {
		delete(p.keys, key)
	}
}

// SetClientLimit tells how many jobs of a client may run at once; 0: as the policy
// says.
func (p *Pool) SetClientLimit(client string, most int) {
	if p.own[client] == most {
		return
	}
	p.own[client] = most
	if most == 0 {
		delete(p.own, client)
	}
	p.regate()
	p.run()
}

// regate sends all jobs through the gates again, after limits have changed.
func (p *Pool) regate() {
	p.all.most = p.policy.MaxRunning
	for client, g := range p.clients {
		g.most = p.mostOf(client)
	}
	var all []*job
	for _, j := range p.jobs {
		if j.place != granted {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b *job) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	paused := p.paused
	p.paused = true // nothing is let through on the way
	for _, j := range all {
		w := j.worker
		p.unlink(j)
		p.withdraw(j)
		if w != nil {
			p.stir(w)
		}
	}
	for _, j := range all {
		p.through(j, 0)
	}
	if p.paused = paused; !paused {
		p.openAll()
		for _, w := range p.byTurn() {
			p.stir(w)
		}
	}
}

// openAll lets through what there is room for, after a pause.
func (p *Pool) openAll() {
	lanes := make([]*lane, 0, len(p.lanes))
	for _, l := range p.lanes {
		lanes = append(lanes, l)
	}
	slices.SortFunc(lanes, func(a, b *lane) int { return int(a.no) - int(b.no) })
	for _, l := range lanes {
		p.balance(l)
	}
}

// Keep tells that a lease which is over still takes its job's concurrency key.
func (p *Pool) Keep(id fsm.LeaseID, key string, most uint32) {
	if _, ok := p.kept[id]; ok || key == "" {
		return
	}
	p.kept[id] = key
	g := p.keyGate(key, int(most))
	g.leased++
	p.rebalance(g)
	p.run()
}

// Free tells that a lease takes its key no longer.
func (p *Pool) Free(id fsm.LeaseID) {
	key, ok := p.kept[id]
	if !ok {
		return
	}
	delete(p.kept, id)
	g := p.keys[key]
	g.leased--
	p.rebalance(g)
	p.dropGate("", key)
	p.run()
}
