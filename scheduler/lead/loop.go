package lead

import (
	"context"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/plan"
)

// loop turns what happens into plans, and plans into proposals.
func (t *term) loop(ctx context.Context) error {
	var batch batch
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.events.Ready():
		case <-t.notes.wake:
		case <-timer.C:
			t.upkeep()
		}
		t.digest(&batch)
		timer.Reset(t.untilUpkeep())
	}
}

// batch is what one round of the loop works on; its memory is used again.
type batch struct {
	notes  []note
	events []fsm.Event
	facts  []fact
	grants []proposal
}

// fact is what the state says of an event's subject now.
type fact struct {
	plan.Fact
	pool   *fsm.Pool
	worker *fsm.Worker
}

// proposal is a decision of one pool's planner.
type proposal struct {
	pool *pool
	plan.Grant
}

// digest takes in all that has happened and proposes what follows. A note is
// added after the events of its command, so notes are taken first and worked on
// last: a slot that a lease takes is never seen as free in between.
func (t *term) digest(b *batch) {
	begun := time.Now()
	b.notes = t.notes.take(b.notes)
	var lost bool
	if b.events, lost = t.events.Take(b.events); lost {
		t.reload()
	}
	t.look(b)
	t.mu.Lock()
	for i, e := range b.events {
		t.happened(e, b.facts[i])
	}
	for _, n := range b.notes {
		t.noted(n)
	}
	b.grants = b.grants[:0]
	for _, p := range t.pools {
		for _, g := range p.plan.Take() {
			b.grants = append(b.grants, proposal{p, g})
		}
	}
	t.mu.Unlock()
	if len(b.events) > 0 {
		t.metrics.plan.Observe(time.Since(begun).Seconds())
	}
	for _, g := range b.grants {
		t.proposeGrant(g.pool, g.Grant)
	}
	clear(b.facts)
	clear(b.grants)
}

// look finds the records of the events' subjects.
func (t *term) look(b *batch) {
	b.facts = b.facts[:0]
	if len(b.events) == 0 {
		return
	}
	t.store.View(func(s *fsm.State) {
		for i := range b.events {
			e := &b.events[i]
			f := fact{Fact: plan.FactOf(s, e)}
			switch e.Kind {
			case fsm.PoolChanged, fsm.WorkerForgotten:
				f.pool, _ = s.Pool(e.Pool)
			case fsm.WorkerPaused:
				f.worker, _ = s.Worker(e.Pool, e.Worker)
			}
			b.facts = append(b.facts, f)
		}
	})
}

// happened takes in one event. The lock is held.
func (t *term) happened(e fsm.Event, f fact) {
	switch e.Kind {
	case fsm.PoolChanged:
		if f.pool != nil {
			t.tunePool(f.pool)
		}
		return
	case fsm.CapabilityRevoked:
		t.dismiss(e.Capability)
		return
	case fsm.ClientChanged:
		for _, p := range t.pools {
			p.plan.Follow(e, f.Fact)
		}
		return
	case fsm.PermitFreed:
		delete(t.held, e.Lease)
	}
	p, ok := t.pools[e.Pool]
	if !ok {
		return
	}
	p.plan.Follow(e, f.Fact)
	switch e.Kind {
	case fsm.JobBackoff, fsm.JobQueued:
		if f.Job == nil {
			break
		}
		if due := f.Job.Due(); due > 0 && (t.due == 0 || due < t.due) {
			t.due = due
		}
	case fsm.LeaseGranted:
		t.granted(p, e, f)
	case fsm.AttemptEnded:
		t.ended(p, e, f)
	case fsm.CancelRequested:
		p.sendStop(e.Worker, e.Lease, pb.StopReason_STOP_CANCELLED, e.Message)
	case fsm.JobSettled:
		t.metrics.over(e.Outcome)
	case fsm.WorkerRegistered:
		p.roster.enlist(e.Worker, t.elapsed(), t.graceOf(p, e.Worker))
	case fsm.WorkerPaused:
		p.paused(e.Worker, f.worker)
	case fsm.WorkerForgotten:
		t.forget(p, e.Worker, f.pool)
	case fsm.PoolDeleted:
		t.drop(p)
	}
}

// granted notes a new lease and passes it to its worker. The worker's next
// session sends it again if this one breaks before it arrives.
func (t *term) granted(p *pool, e fsm.Event, f fact) {
	t.metrics.granted.Inc()
	if !f.Runs() {
		return
	}
	m := t.hold(p, e.Lease, f.Job)
	if e.Attempt == 1 {
		t.metrics.waiting.Observe(float64(f.Attempt.Started-f.Job.Submitted) / 1000)
	}
	switch {
	case m.revoked: // while the grant was on its way
		t.takeBack(e.Lease)
	case m.session != nil:
		m.session.sendGrant(grantOf(f.Job, f.Attempt, p.limits))
	}
}

// ended notes that a lease is over, and tells its worker if it does not know.
func (t *term) ended(p *pool, e fsm.Event, f fact) {
	if m, ok := p.roster.members[e.Worker]; ok {
		delete(m.leases, e.Lease)
	}
	if f.Attempt != nil {
		t.holdOn(f.Attempt)
		t.metrics.ended(f.Attempt)
	}
	switch e.Outcome {
	case pb.OutcomeKind_OUTCOME_WORKER_LOST, pb.OutcomeKind_OUTCOME_WORKER_REVOKED, pb.OutcomeKind_OUTCOME_EVICTED:
		t.metrics.expired.Inc()
		p.sendStop(e.Worker, e.Lease, pb.StopReason_STOP_FENCED, "the lease is over: "+fsm.OutcomeName(e.Outcome))
	}
}

// paused follows an operator's order to pause a worker, or the end of it; w is nil
// when it is not there any more.
func (p *pool) paused(name string, w *fsm.Worker) {
	if m, ok := p.roster.members[name]; ok && w != nil {
		m.pause = w.Pause
		p.activate(m)
	}
}

// forget follows an operator's order to forget a worker, or its pool, which then
// is not there any more.
func (t *term) forget(p *pool, name string, there *fsm.Pool) {
	m, ok := p.roster.members[name]
	switch {
	case !ok:
	case m.session == nil:
		delete(p.roster.members, name)
	case there == nil:
		m.session.end(noPool(p.name))
	default:
		m.session.end(&fsm.Refusal{Kind: fsm.Refused, Message: "the worker was forgotten by an operator; it may register again"})
	}
}

// drop follows the deletion of a pool.
func (t *term) drop(p *pool) {
	for _, m := range p.roster.members {
		if m.session != nil {
			m.session.end(noPool(p.name))
		}
	}
	delete(t.pools, p.name)
}

// sendStop tells a worker, if it is connected, to end an attempt.
func (p *pool) sendStop(worker string, lease fsm.LeaseID, why pb.StopReason, message string) {
	if m, ok := p.roster.members[worker]; ok && m.session != nil {
		m.session.sendStop(&pb.Stop{Lease: uint64(lease), Reason: why, Message: message})
	}
}
