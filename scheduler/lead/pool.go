package lead

import (
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/scheduler/plan"
	"github.com/weirbuild/weir/scheduler/state"
)

// pool is what the leader holds in memory of one pool. The term's lock guards it.
type pool struct {
	name   string
	plan   *plan.Pool
	roster *roster
	limits fsm.Limits
	pause  *fsm.Pause // an operator's; nil: none
}

// book answers the planner from the replicated state.
type book struct {
	store *state.Store
	pool  string
}

// Look implements plan.Book.
func (b book) Look(client, hint string) (workers []string, costs plan.Costs) {
	b.store.View(func(s *fsm.State) { workers, costs = plan.LookUp(s, b.pool, client, hint) })
	return workers, costs
}

// pool returns the record of a pool, and makes or updates it.
func (t *term) tunePool(p *fsm.Pool) *pool {
	limits := p.Limits()
	policy := plan.PolicyOf(limits)
	r, ok := t.pools[p.Name]
	if !ok {
		r = &pool{name: p.Name, plan: plan.New(policy, book{t.store, p.Name}), roster: newRoster()}
		r.plan.Resume()
		t.pools[p.Name] = r
	}
	r.limits = limits
	r.plan.SetPolicy(policy)
	r.roster.tune(t.config.ttl(limits))
	if p.Pause != r.pause {
		r.pause = p.Pause
		for _, m := range r.roster.members {
			r.activate(m)
		}
	}
	return r
}

// activate tells the planner whether a member takes jobs.
func (p *pool) activate(m *member) {
	if m.session != nil {
		p.plan.SetInactive(m.name, m.session.inactive())
	}
}

// ttl is how long a lease of the pool outlives its worker's silence. An election
// and a reconnect must fit into it several times.
func (c Config) ttl(l fsm.Limits) time.Duration {
	ttl := c.LeaseTTL
	if l.LeaseTTL > 0 {
		ttl = time.Duration(l.LeaseTTL) * time.Millisecond
	}
	return max(ttl, 3*(c.Election+c.ReconnectMax))
}

// load makes the pool what the state says it is.
func (t *term) loadPool(s *fsm.State, p *fsm.Pool) {
	r := t.tunePool(p)
	now := t.elapsed()
	r.plan.Rebuild(s, p)
	for w := range s.Workers(p.Name) {
		m := r.roster.enlist(w.Name, now, t.graceOf(r, w.Name))
		m.capability, m.pause = w.Capability, w.Pause
		r.activate(m)
		clear(m.leases)
	}
	for j := range s.Leases(p.Name) {
		t.hold(r, j.Lease, j)
	}
	for _, m := range r.roster.members {
		if isRevoked(s, m.capability) {
			t.dismissMember(r, m)
		}
	}
	r.plan.Resume()
}

// graceOf is how long the leases of a worker hold that this leader has not heard
// yet: it had to find out who leads now.
func (t *term) graceOf(r *pool, name string) time.Duration {
	return r.roster.ttl + t.config.Election + spread(name, r.roster.ttl/10)
}

// hold notes a lease with its worker.
func (t *term) hold(r *pool, id fsm.LeaseID, j *fsm.Job) *member {
	name := j.Worker()
	m := r.roster.enlist(name, t.elapsed(), t.graceOf(r, name))
	m.leases[id] = struct{}{}
	return m
}
