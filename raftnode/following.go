package raftnode

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// following ends what depends on a leader once this node knows another one. A
// leader that stands still, or whose machine has lost its power, closes no
// connection: those who read from it would wait for a keepalive to fail.
type following struct {
	mu    sync.Mutex
	bound map[*bond]struct{}
}

type bond struct {
	leader NodeID
	end    context.CancelCauseFunc
}

// WhileLed returns a context that ends, as ErrNotLeader, when this node knows
// another leader than the given one. That it knows none ends nothing. The caller
// must call stop.
func (n *Node) WhileLed(ctx context.Context, leader NodeID) (led context.Context, stop context.CancelFunc) {
	led, end := context.WithCancelCause(ctx)
	b := &bond{leader, end}
	n.following.add(b)
	n.checkBond(b)
	return led, func() {
		n.following.remove(b)
		end(nil)
	}
}

func (n *Node) checkBond(b *bond) {
	if now, ok := n.Leader(); ok && now.ID != b.leader {
		b.end(fmt.Errorf("%w: node %s leads now", ErrNotLeader, now.Name))
	}
}

func (f *following) add(b *bond) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bound == nil {
		f.bound = make(map[*bond]struct{})
	}
	f.bound[b] = struct{}{}
}

func (f *following) remove(b *bond) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.bound, b)
}

func (f *following) each(do func(*bond)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for b := range f.bound {
		do(b)
	}
}

// followLeaders checks all bonds after each change of leader, until ctx ends.
func (n *Node) followLeaders(ctx context.Context, r *raft.Raft) {
	// An observation that finds the channel full is dropped. That loses nothing:
	// the ones before it are still to be looked at, and each look is at the present.
	changes := make(chan raft.Observation, 16)
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		_, leader := o.Data.(raft.LeaderObservation)
		return leader
	})
	r.RegisterObserver(observer)
	defer r.DeregisterObserver(observer)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
			n.following.each(n.checkBond)
		}
	}
}
