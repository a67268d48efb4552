package lead

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/jobkind"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/plan"
)

// maxKeys is how many keys of its pool a worker may hold.
const maxKeys = 64

// serve serves one session.
func (t *term) serve(stream SessionStream, hello *pb.WorkerHello, by Caller) error {
	ctx := stream.Context()
	select {
	case <-t.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.office.Done():
		return errOfficeOver
	}
	s, err := t.admit(stream, hello, by)
	if err != nil {
		t.metrics.sessions.WithLabelValues("refused").Inc()
		t.log.Debug("worker refused", "pool", hello.Pool, "worker", hello.Name, "remote", by.Remote, "error", err)
		return err
	}
	err = s.wait()
	t.leave(s, err)
	return err
}

// admit finds out who is there, registers it, and begins its session.
func (t *term) admit(stream SessionStream, hello *pb.WorkerHello, by Caller) (*session, error) {
	ctx := stream.Context()
	g := guest{hello: hello, by: by, key: sha256.Sum256(hello.InstanceKey)}
	if len(hello.InstanceKey) < minInstanceKey {
		return nil, invalid("the worker's instance key has %d bytes, at least %d are needed: remove its state directory's key file and start it again", len(hello.InstanceKey), minInstanceKey)
	}
	if err := jobkind.Check(hello.Kinds); err != nil {
		return nil, invalid("the worker takes %v", err)
	}
	if len(hello.Keys) > maxKeys {
		return nil, invalid("the worker holds %d keys of its pool, at most %d are allowed: leave the oldest out ('weir cap derive --newest-key')", len(hello.Keys), maxKeys)
	}
	if !t.hasPool(hello.Pool) {
		return nil, noPool(hello.Pool)
	}
	leave, err := t.enter(ctx, door{hello.Pool, hello.Name})
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := t.displace(ctx, g); err != nil {
		return nil, err
	}
	if err := t.register(ctx, g); err != nil {
		return nil, err
	}
	return t.attach(stream, g)
}

// attach begins the session of a registered worker: it replaces an older one,
// and what the worker runs is compared with what the state says it should.
func (t *term) attach(stream SessionStream, g guest) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[g.hello.Pool]
	switch {
	case t.office.Err() != nil:
		return nil, errOfficeOver
	case !ok:
		return nil, noPool(g.hello.Pool)
	}
	now := t.elapsed()
	m := p.roster.enlist(g.hello.Name, now, t.graceOf(p, g.hello.Name))
	if m.capability, m.revoked = g.by.CapabilityID, false; t.isRevoked(m.capability) {
		t.dismissMember(p, m)
		return nil, capabilityRevoked(m.capability)
	}
	how := "new"
	if m.session != nil {
		m.session.end(errSuperseded)
		how = "superseding"
	}
	t.metrics.sessions.WithLabelValues(how).Inc()
	t.sessionNo++
	s := &session{
		term: t, pool: p, member: m, name: g.hello.Name, key: g.key, boot: g.hello.BootId, by: g.by, status: g.hello.Status,
		update: updates{g.hello.Updates, g.hello.UpdateError}, kinds: g.hello.Kinds,
		id: fmt.Sprintf("%d-%d", t.number, t.sessionNo), out: newOutbox(), flushed: make(chan struct{}),
	}
	s.ctx, s.end = context.WithCancelCause(stream.Context())
	m.session, m.met = s, true
	m.hear(now)
	clear(m.unnamed)
	t.welcome(s)
	w, err := t.reconcile(s, g.hello)
	if err != nil {
		m.session = nil
		s.end(err)
		return nil, err
	}
	m.pause = w.Pause
	p.plan.Join(plan.Worker{Name: s.name, Slots: w.Slots, Labels: w.Labels, Kinds: g.hello.Kinds, Keys: g.hello.Keys, Leashes: g.hello.FeatureLevel >= permitLevel, Inactive: s.inactive()})
	t.notes.poke()
	s.start(stream)
	t.told.worker(pb.HappeningKind_HAPPENING_WORKER_CONNECTED, s)
	t.log.Info("worker connected", "pool", p.name, "worker", s.name, "remote", g.by.Remote, "relayed-by", g.by.RelayedBy,
		"slots", w.Slots, "running", len(g.hello.Running))
	return s, nil
}

// welcome says who leads and how to behave.
func (t *term) welcome(s *session) {
	node := t.store.Node()
	s.check(s.out.welcome(&pb.Welcome{
		Session: s.id, Term: t.number, Leader: node.Name(), Addresses: t.addresses(), ClusterId: string(node.ClusterID()),
		LeaseTtlMs: s.pool.roster.ttl.Milliseconds(), HeartbeatMs: s.pool.roster.beat.Milliseconds(),
		ReconnectMaxMs: t.config.ReconnectMax.Milliseconds(),
	}))
}

// reconcile compares what the worker runs with what the state says it should.
// A lease above any that it has recorded never arrived: it is granted again. One
// that it had recorded and does not run any more it gives up by itself. What it
// runs without a lease it must kill.
func (t *term) reconcile(s *session, hello *pb.WorkerHello) (w *fsm.Worker, err error) {
	t.store.View(func(st *fsm.State) {
		var ok bool
		if w, ok = st.Worker(s.pool.name, s.name); !ok || w.Key != s.key {
			err = &fsm.Refusal{Kind: fsm.Refused, Message: "the worker was forgotten while it connected; it may try again"}
			return
		}
		held := map[uint64]bool{}
		for j := range st.WorkerLeases(s.pool.name, s.name) {
			held[uint64(j.Lease)] = true
			runs := slices.ContainsFunc(hello.Running, func(r *pb.RunningAttempt) bool { return r.Lease == uint64(j.Lease) })
			switch {
			case runs && j.Cancel != nil:
				s.sendStop(&pb.Stop{Lease: uint64(j.Lease), Reason: pb.StopReason_STOP_CANCELLED, Message: j.Cancel.Reason})
			case !runs && uint64(j.Lease) > hello.HighestLease:
				s.sendGrant(grantOf(j, j.Last(), s.pool.limits))
			}
			s.through = max(s.through, j.Lease)
		}
		for _, r := range hello.Running {
			if !held[r.Lease] {
				s.sendStop(&pb.Stop{Lease: r.Lease, Reason: pb.StopReason_STOP_FENCED, Message: "the lease is over"})
			}
		}
	})
	return w, err
}

// leave ends what a session has been for.
func (t *term) leave(s *session, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.member.session != s {
		return // another one has taken its place
	}
	s.member.session = nil
	s.pool.plan.Leave(s.name)
	t.notes.poke()
	registered := false
	t.store.View(func(st *fsm.State) { _, registered = st.Worker(s.pool.name, s.name) })
	if !registered && len(s.member.leases) == 0 {
		delete(s.pool.roster.members, s.name)
	}
	t.told.worker(pb.HappeningKind_HAPPENING_WORKER_DISCONNECTED, s)
	t.log.Info("worker disconnected", "pool", s.pool.name, "worker", s.name, "leases", len(s.member.leases), "cause", cause)
}
