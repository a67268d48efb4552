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

// dismiss ends the sessions that came with a capability, and takes the workers'
// leases: their jobs go back to the backlog at once. The lock is held.
func (t *term) dismiss(id string) {
	if id == "" {
		return
	}
	cause := &fsm.Refusal{
		Kind:    reason.Unauthenticated,
		Message: fmt.Sprintf("capability %s was revoked: ask for a new one (weir cap create) and start the worker with it", id),
	}
	for _, p := range t.pools {
		for _, m := range p.roster.members {
			if m.capability != id {
				continue
			}
			m.capability = ""
			t.log.Info("worker dismissed: its capability was revoked", "pool", p.name, "worker", m.name, "leases", len(m.leases))
			for lease := range m.leases {
				t.propose("expire lease", expireLease(lease, pb.OutcomeKind_OUTCOME_WORKER_REVOKED, "the worker's capability was revoked"))
			}
			if m.session != nil {
				for lease := range m.leases {
					m.session.sendStop(&pb.Stop{Lease: uint64(lease), Reason: pb.StopReason_STOP_FENCED, Message: cause.Message})
				}
				m.session.end(cause)
			}
		}
	}
}
