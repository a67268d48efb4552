package lead

import "github.com/weirbuild/weir/proto/pb"

// Silent is the state of a worker that is connected and has missed heartbeats.
const Silent = "silent"

// describe adds what only the leader knows of some workers.
func (t *term) describe(list []*pb.Worker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.elapsed()
	for _, w := range list {
		w.State = "disconnected"
		p, ok := t.pools[w.Pool]
		if !ok {
			continue
		}
		m, ok := p.roster.members[w.Name]
		if !ok {
			continue
		}
		if m.met {
			w.LastHeardMsAgo = max((now - m.lastHeard()).Milliseconds(), 1)
		}
		if m.session != nil {
			w.Connected, w.RelayedBy, w.State = true, m.session.by.RelayedBy, m.session.stateName()
			w.Kinds = m.session.kinds
			if status := m.session.status; !status.GetReady() {
				w.Why = status.GetWhy()
			}
			w.BootId, w.Updates, w.UpdateError = m.session.boot, m.session.update.takes, m.session.update.err
		}
	}
}

// stateName is the worker's state in a word: ready, paused, draining, silent, or
// not ready.
func (s *session) stateName() string {
	switch {
	case s.silent.Load():
		return Silent
	case s.member.pause != nil:
		return "paused"
	case s.status.GetDraining():
		return "draining"
	case !s.status.GetReady():
		return "not ready"
	}
	return "ready"
}

// capacity is how many workers of a pool are connected, and how many of their
// slots are free.
func (t *term) capacity(pool string) (connected, free int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[pool]
	if !ok {
		return 0, 0, false
	}
	for _, m := range p.roster.members {
		if m.session != nil {
			connected++
		}
	}
	return connected, p.plan.FreeSlots(), true
}
