package lead

import (
	"fmt"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

// After a transfer the next leader is known within a few milliseconds. A leader
// that was deposed otherwise may not hear of one at all.
const (
	successorWait = 50 * time.Millisecond
	successorPoll = 2 * time.Millisecond
)

// farewell tells the workers who leads now, if that shows soon: they go there at
// once instead of looking around.
func (t *term) farewell() {
	next, ok := t.successor()
	if !ok {
		return
	}
	to := &pb.Redirect{Leader: next.Address, Addresses: t.addresses(), Why: fmt.Sprintf("node %s leads now", next.Name)}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		for _, m := range p.roster.members {
			if m.session != nil {
				m.session.check(m.session.out.redirect(to))
			}
		}
	}
}

func (t *term) successor() (raftnode.Peer, bool) {
	node, ticker := t.store.Node(), time.NewTicker(successorPoll)
	defer ticker.Stop()
	for until := time.Now().Add(successorWait); time.Now().Before(until); <-ticker.C {
		if p, ok := node.Leader(); ok && p.ID != node.ID() {
			return p, true
		}
	}
	return raftnode.Peer{}, false
}

// addresses are those of all members.
func (t *term) addresses() []string {
	var all []string
	for _, m := range t.store.Node().Members() {
		all = append(all, m.Address)
	}
	return all
}
