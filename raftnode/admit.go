package raftnode

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// admit brings a node that asks to join one step further: in place of the dead
// member that it was, as a non-voter, and, once it has caught up, as a voter. The
// node asks again until it is one.
func (n *Node) admit(ctx context.Context, p Peer) (voter bool, err error) {
	for _, m := range n.Members() {
		switch {
		case m.ID == p.ID && m.Peer == p && m.Voter:
			return true, nil
		case m.ID == p.ID && m.Peer == p:
			err := n.Promote(ctx, p.ID)
			return err == nil, err
		case m.ID == p.ID:
			return m.Voter, n.move(ctx, m, p)
		case m.Name == p.Name || m.Address == p.Address:
			if err := n.replace(ctx, m, p); err != nil {
				return false, err
			}
		}
	}
	return false, n.AddNonvoter(ctx, p)
}

// move changes the name or address of a member.
func (n *Node) move(ctx context.Context, m Member, p Peer) error {
	n.log.Info("a member has moved", "from", m.Peer, "to", p, "id", p.ID)
	return n.change(ctx, func(r *raft.Raft, now []raft.Server, index uint64) (raft.IndexFuture, error) {
		for _, s := range now {
			if other := peerOf(s); other.ID != p.ID && (other.Name == p.Name || other.Address == p.Address) {
				return nil, fmt.Errorf("%w: %s has that name or address", ErrRefused, other)
			}
		}
		if m.Voter {
			return r.AddVoter(raft.ServerID(p.ID), p.raftAddress(), index, changePatience), nil
		}
		return r.AddNonvoter(raft.ServerID(p.ID), p.raftAddress(), index, changePatience), nil
	})
}

// replace removes a member whose data is gone: p came back under its name, or at
// its address, with another identity.
func (n *Node) replace(ctx context.Context, old Member, p Peer) error {
	if n.office.Load() == nil {
		return ErrNotLeader // and knows nothing of who is alive
	}
	if n.alive(old.ID) {
		return fmt.Errorf("%w: %s, another node with that name or address, is alive", ErrRefused, old.Peer)
	}
	if since := time.Since(n.officeSince()); since < n.config.Profile.Heartbeat*2 {
		return fmt.Errorf("%w: in office for %v only, too short to know whether %s is dead", ErrRefused, since.Round(time.Millisecond), old.Peer)
	}
	n.log.Info("a member came back empty; replacing it", "member", old.Peer, "old_id", old.ID, "new_id", p.ID)
	return n.Remove(ctx, string(old.ID), false)
}

func (n *Node) officeSince() time.Time {
	if t := n.office.Load(); t != nil {
		return t.since
	}
	return time.Now()
}
