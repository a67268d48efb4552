package lead

import (
	"context"
	"fmt"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

const (
	// pulse is the longest time for which the state's own time stands still.
	pulse = time.Minute
	// again is when a proposal that was not done is made again.
	again = time.Second
	// verifyTime and transferTime bound the questions to the other nodes.
	verifyTime   = 2 * time.Second
	transferTime = 5 * time.Second
)

// interval is how often the leader looks at who is silent.
func (t *term) interval() time.Duration {
	return min(max(t.config.LeaseTTL/40, 100*time.Millisecond), 500*time.Millisecond)
}

// untilUpkeep is how long the loop may sleep.
func (t *term) untilUpkeep() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.looked + t.interval() - t.elapsed()
	if t.due != 0 && !t.ticking {
		wait = min(wait, time.Duration(t.due-t.store.Now())*time.Millisecond)
	}
	return max(wait, 0)
}

// upkeep does what the passing of time alone asks for.
func (t *term) upkeep() {
	t.tick()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.elapsed()
	if now < t.looked+t.interval() {
		return
	}
	t.looked = now
	t.readmit()
	t.freePermits(now)
	for _, p := range t.pools {
		p.plan.Advance(t.store.Now())
		t.judge(p, now)
	}
}

// tick moves the state's time when a back-off has ended, or when it has stood
// still for long.
func (t *term) tick() {
	var state int64
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.View(func(s *fsm.State) { t.due, state = s.Due(), s.Now() })
	now := t.store.Now()
	if t.ticking || (t.due == 0 || t.due > now) && now-state < pulse.Milliseconds() {
		return
	}
	t.ticking = true
	t.store.ProposeAsync(&pb.Command{Op: &pb.Command_Tick{Tick: &pb.Tick{}}}, func(_ fsm.Result, err error) {
		t.notes.add(note{ticked: true, err: err})
	})
}

// judge acts on the silence of a pool's workers. The lock is held.
func (t *term) judge(p *pool, now time.Duration) {
	v := p.roster.check(now, t.interval())
	for _, m := range v.silent {
		if s := m.session; !s.silent.Swap(true) {
			t.log.Warn("worker is silent", "pool", p.name, "worker", m.name, "for", (now - m.lastHeard()).Round(time.Millisecond))
			t.applyStatus(s)
		}
	}
	for _, m := range v.mute {
		if m.session != nil {
			m.session.end(fmt.Errorf("nothing was heard of the worker for %v, the time to live of its leases: %w", p.roster.ttl, ErrInterrupted))
		}
	}
	for _, m := range p.roster.members {
		if m.session != nil && m.session.stuck(now, p.roster.ttl) {
			m.session.end(errSlow)
		}
	}
	if v.suspect {
		t.suspectSelf(p, v)
	}
	t.expire(t.losses(p, v, now))
}

// suspectSelf follows when so many workers fell silent at once that this node may
// be the one that is cut off: another node tries. Workers that were never heard
// here have not come back from an election, and another one would not help.
func (t *term) suspectSelf(p *pool, v verdict) {
	t.metrics.suspected.Inc()
	t.log.Warn("many workers fell silent at once; their leases hold for one more time to live, in case it is this node that is cut off",
		"pool", p.name, "leases", v.leases, "ttl", p.roster.ttl)
	if !v.met || t.transfers {
		return
	}
	t.transfers = true
	t.parts.Go(func() {
		ctx, cancel := context.WithTimeout(t.office, transferTime)
		defer cancel()
		if err := t.store.Node().Transfer(ctx, ""); err != nil && t.office.Err() == nil {
			t.log.Warn("office not handed over; keeping it", "error", err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.transfers = false
	})
}

// loss is a lease to be given up.
type loss struct {
	lease fsm.LeaseID
	kind  pb.OutcomeKind
	why   string
}

// losses are the leases of workers that were silent for too long, and those of
// which their workers know nothing.
func (t *term) losses(p *pool, v verdict, now time.Duration) (all []loss) {
	for _, m := range v.over {
		m.grace = now + again // if this fails
		kind := pb.OutcomeKind_OUTCOME_WORKER_LOST
		if m.revoked {
			kind = pb.OutcomeKind_OUTCOME_WORKER_REVOKED
		}
		why := fmt.Sprintf("worker %s %s", m.name, m.unheard(now))
		t.log.Warn("giving up the leases of a silent worker", "pool", p.name, "worker", m.name, "leases", len(m.leases))
		for id := range m.leases {
			all = append(all, loss{id, kind, why})
		}
	}
	for _, o := range v.orphans {
		t.log.Warn("giving up a lease of which its worker says nothing", "pool", p.name, "worker", o.member.name, "lease", o.lease)
		all = append(all, loss{o.lease, pb.OutcomeKind_OUTCOME_WORKER_LOST, fmt.Sprintf("worker %s neither runs it nor has reported its end", o.member.name)})
	}
	return all
}

// expire gives up leases, once a majority has confirmed that this node still
// leads.
func (t *term) expire(losses []loss) {
	if len(losses) == 0 {
		return
	}
	t.parts.Go(func() {
		ctx, cancel := context.WithTimeout(t.office, verifyTime)
		defer cancel()
		if err := t.store.Node().Verify(ctx); err != nil {
			return // the check is made again
		}
		for _, l := range losses {
			t.propose("expire lease", expireLease(l.lease, l.kind, l.why))
		}
	})
}

func expireLease(id fsm.LeaseID, why pb.OutcomeKind, message string) *pb.Command {
	return &pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{Lease: uint64(id), Why: why, Message: message}}}
}
