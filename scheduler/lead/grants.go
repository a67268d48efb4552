package lead

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/jobkind"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/plan"
)

// proposeGrant proposes a decision. The planner counts it as made until the loop
// has noted what became of it.
func (t *term) proposeGrant(p *pool, g plan.Grant) {
	grant := &pb.GrantLease{Job: uint64(g.Job), Worker: g.Worker, InPlaceOf: uint64(g.InPlaceOf)}
	c := &pb.Command{Op: &pb.Command_GrantLease{GrantLease: grant}}
	if g.Leash {
		grant.LeashMs = p.leash()
	}
	if g.Leash || g.InPlaceOf != 0 {
		c.MinLevel = permitLevel
	}
	t.store.ProposeAsync(c, func(_ fsm.Result, err error) {
		t.notes.add(note{pool: p, job: g.Job, worker: g.Worker, err: err})
	})
}

// exclusion is a worker that gets no grants until the next upkeep, since one was
// refused.
type exclusion struct {
	pool   *pool
	worker string
}

// noted takes in what became of a proposal. The lock is held.
func (t *term) noted(n note) {
	switch {
	case n.ticked:
		t.ticking, t.due = false, t.store.Now()+again.Milliseconds()
		if n.err == nil {
			t.store.View(func(s *fsm.State) { t.due = s.Due() })
		}
		return
	case n.suggestion != nil:
		n.pool.plan.Withdraw(n.suggestion)
		return
	case n.err == nil:
		n.pool.plan.Settle(n.job, false)
		return
	case errors.Is(n.err, raftnode.ErrNotLeader), errors.Is(n.err, raftnode.ErrClosed):
		return // the term is over, and its plans with it
	}
	t.metrics.refused.Inc()
	waits := false
	t.store.View(func(s *fsm.State) { waits = plan.StillWaits(s, n.job) })
	if waits {
		// The job is there, so it is the worker that the state does not see as the
		// planner does, or the log that is not taking more: pause rather than turn.
		t.log.Debug("grant refused", "pool", n.pool.name, "job", n.job, "worker", n.worker, "error", n.err)
		n.pool.plan.SetInactive(n.worker, "was refused a grant just now")
		t.excluded = append(t.excluded, exclusion{n.pool, n.worker})
	}
	n.pool.plan.Settle(n.job, waits)
}

// readmit lets excluded workers have grants again.
func (t *term) readmit() {
	for _, e := range t.excluded {
		if m, ok := e.pool.roster.members[e.worker]; ok && m.session != nil {
			e.pool.plan.SetInactive(e.worker, m.session.inactive())
		}
	}
	t.excluded = t.excluded[:0]
}

// suggest decides on the grant that rides with a submit.
func (t *term) suggest(name, client string, spec *pb.JobSpec) (worker string, leashMs int64, release func(bool)) {
	select {
	case <-t.ready:
	default: // the plan is being made
		return "", 0, func(bool) {}
	}
	need := plan.Need{Kind: jobkind.Of(spec), Slots: max(spec.Slots, 1), Labels: labelsOf(spec.Labels), Key: spec.Sealed.GetKey(), Leash: spec.Concurrency != nil}
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[name]
	if !ok {
		return "", 0, func(bool) {}
	}
	s := p.plan.Suggest(plan.Job{
		Client: client, Hint: spec.CacheHint, Need: need, Concurrency: spec.Concurrency.GetKey(), AtMost: spec.Concurrency.GetMost(),
	})
	if need.Leash {
		leashMs = p.leash()
	}
	return s.Worker(), leashMs, func(bool) { t.notes.add(note{pool: p, suggestion: s}) }
}

func labelsOf(labels []*pb.Label) []fsm.Label {
	if len(labels) == 0 {
		return nil
	}
	out := make([]fsm.Label, len(labels))
	for i, l := range labels {
		out[i] = fsm.Label{Name: l.GetName(), Value: l.GetValue()}
	}
	slices.SortFunc(out, func(a, b fsm.Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// grantOf is what a worker needs to run an attempt. It shares the spec with the
// state.
func grantOf(j *fsm.Job, a *fsm.Attempt, l fsm.Limits) *pb.Grant {
	timeLimit, logLimit := specLimits(j.Spec)
	if timeLimit == 0 {
		timeLimit = l.TimeLimit
	}
	if logLimit == 0 {
		logLimit = l.LogLimit
	}
	return &pb.Grant{
		Lease: uint64(a.Lease), Job: uint64(j.ID), Attempt: uint32(a.No), Spec: j.Spec, Pool: j.Pool,
		TimeLimitMs: timeLimit, LogLimitBytes: logLimit, Cached: a.Cached, Sealed: j.Sealed,
		LeashMs: a.Leash,
	}
}

// The fields of pb.JobSpec that a grant resolves.
const (
	specTimeLimit = protowire.Number(14)
	specLogLimit  = protowire.Number(16)
)

// specLimits reads two fields of a marshalled JobSpec without decoding the rest.
func specLimits(spec []byte) (timeLimit, logLimit int64) {
	for len(spec) > 0 {
		field, kind, n := protowire.ConsumeTag(spec)
		if n < 0 {
			return timeLimit, logLimit
		}
		spec = spec[n:]
		if n = protowire.ConsumeFieldValue(field, kind, spec); n < 0 {
			return timeLimit, logLimit
		}
		if kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(spec)
			switch field {
			case specTimeLimit:
				timeLimit = int64(value)
			case specLogLimit:
				logLimit = int64(value)
			}
		}
		spec = spec[n:]
	}
	return timeLimit, logLimit
}
