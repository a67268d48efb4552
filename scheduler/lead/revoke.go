package lead

import (
	"fmt"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// revoke follows the revocation of a capability. The event of it does the same;
// whichever is first counts.
func (t *term) revoke(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dismiss(id)
}

// isRevoked says whether a capability is over; one that the state has dropped was
// revoked before. A worker without one came by other means.
func isRevoked(s *fsm.State, id string) bool {
	if id == "" {
		return false
	}
	c, ok := s.Capability(id)
	return !ok || c.Revoked != 0
}

func (t *term) isRevoked(id string) (over bool) {
	t.store.View(func(s *fsm.State) { over = isRevoked(s, id) })
	return over
}

// dismiss ends what the workers have that came with a capability. The lock is held.
func (t *term) dismiss(id string) {
	if id == "" {
		return
	}
	for _, p := range t.pools {
		for _, m := range p.roster.members {
			if m.capability == id && !m.revoked {
				t.dismissMember(p, m)
			}
		}
	}
}

// dismissMember ends the worker's session and takes its leases: their jobs go back
// to the backlog at once. It lasts until the worker comes with another capability.
func (t *term) dismissMember(p *pool, m *member) {
	m.revoked = true
	cause := capabilityRevoked(m.capability)
	t.log.Info("worker dismissed: its capability was revoked", "pool", p.name, "worker", m.name, "leases", len(m.leases))
	for lease := range m.leases {
		t.takeBack(lease)
	}
	if m.session == nil {
		return
	}
	for lease := range m.leases {
		m.session.sendStop(&pb.Stop{Lease: uint64(lease), Reason: pb.StopReason_STOP_FENCED, Message: cause.Message})
	}
	m.session.end(cause)
}

// takeBack ends a lease of a dismissed worker.
func (t *term) takeBack(lease fsm.LeaseID) {
	t.propose("expire lease", expireLease(lease, pb.OutcomeKind_OUTCOME_WORKER_REVOKED, "the worker's capability was revoked"))
}

func capabilityRevoked(id string) *fsm.Refusal {
	return &fsm.Refusal{
		Kind:    reason.Unauthenticated,
		Message: fmt.Sprintf("capability %s was revoked: ask for a new one (weir cap create) and start the worker with it", id),
	}
}
