package logs

import (
	"context"
	"slices"
	"time"

	"github.com/weirbuild/weir/raftnode"
)

const (
	membersEvery = 500 * time.Millisecond
	// tolerance is how long a peer may be away or owe an answer before another
	// voter gets the copies, where there is one to spare.
	tolerance = 3 * time.Second
)

// replicate keeps a replicator for each node that gets copies, and ends them.
func (t *term) replicate(ctx context.Context) error {
	stops := make(map[*replicator]func())
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for {
		others, quorum := t.others()
		gone, fresh := t.retarget(others, quorum)
		for _, r := range gone {
			stops[r]()
			delete(stops, r)
		}
		for _, r := range fresh {
			stops[r] = r.start(ctx)
		}
		if err := pause(ctx, membersEvery); err != nil {
			return err
		}
	}
}

// retarget makes the peers those that should get copies now.
func (t *term) retarget(others []raftnode.NodeID, quorum int) (gone, fresh []*replicator) {
	t.mu.Lock()
	ids := choose(others, quorum, t.peers)
	t.quorum = quorum
	for _, r := range t.peers {
		if !slices.Contains(ids, r.id) {
			gone = append(gone, r)
		}
	}
	for _, r := range gone {
		t.remove(r)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(t.peers, func(r *replicator) bool { return r.id == id }) {
			r := newReplicator(t, id)
			t.add(r)
			fresh = append(fresh, r)
		}
	}
	var ready []*flow
	for _, f := range t.flows { // the quorum may be smaller now, or a proposal was turned away
		if f.only != nil && time.Since(f.final.at) > membersEvery {
			t.release(f)
		}
		ready = t.consider(f, ready)
	}
	t.mu.Unlock()
	t.propose(ready)
	return gone, fresh
}

// choose says which of the other voters get copies: enough for a majority, two
// where there are two, the ones that have them already unless they fail.
func choose(others []raftnode.NodeID, quorum int, now []*replicator) []raftnode.NodeID {
	want := min(len(others), max(2, quorum-1))
	var chosen, failing []raftnode.NodeID
	for _, r := range now {
		switch {
		case !slices.Contains(others, r.id):
		case r.failing():
			failing = append(failing, r.id)
		case len(chosen) < want:
			chosen = append(chosen, r.id)
		}
	}
	for _, id := range others {
		if len(chosen) < want && !slices.Contains(chosen, id) && !slices.Contains(failing, id) {
			chosen = append(chosen, id)
		}
	}
	return append(chosen, failing[:min(len(failing), want-len(chosen))]...)
}

// add gives every log under way to another peer; called with mu held.
func (t *term) add(r *replicator) {
	t.peers = append(t.peers, r)
	for _, f := range t.flows {
		f.copies = append(f.copies, replica{to: r, sent: unknown})
		t.release(f)
	}
}

// remove takes a peer out; called with mu held. What it has on disk does not
// count any more.
func (t *term) remove(r *replicator) {
	t.peers = slices.DeleteFunc(t.peers, func(o *replicator) bool { return o == r })
	for _, f := range t.flows {
		f.copies = slices.DeleteFunc(f.copies, func(c replica) bool { return c.to == r })
		if f.only == r {
			t.release(f)
		}
	}
}
