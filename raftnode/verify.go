package raftnode

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// verifier confirms the office for many readers at once: those that ask while a
// round is under way share the next.
type verifier struct {
	node *Node
	asks chan chan error
}

func newVerifier(n *Node) *verifier {
	return &verifier{node: n, asks: make(chan chan error, 1024)}
}

// Verify returns nil when this node is in office and was so, confirmed by a
// majority, at some moment after the call: what View shows from then on is at
// least as new as everything that had been acknowledged before the call.
func (n *Node) Verify(ctx context.Context) error {
	if n.office.Load() == nil {
		return ErrNotLeader
	}
	answer := make(chan error, 1)
	select {
	case n.verifier.asks <- answer:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-answer:
		return err
	case <-n.stopping:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (v *verifier) run(ctx context.Context, r *raft.Raft) {
	var waiting []chan error
	for {
		select {
		case a := <-v.asks:
			waiting = append(waiting[:0], a)
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case a := <-v.asks:
				waiting = append(waiting, a)
			default:
				more = false
			}
		}
		err := v.round(ctx, r)
		for _, a := range waiting {
			a <- err
		}
	}
}

// verifyPatience bounds one round: a leader that a majority does not confirm for
// so long has lost its lease long ago.
const verifyPatience = 5 * time.Second

// round confirms that the term is the same before and after a majority agreed:
// Raft's own check alone may speak of a later term.
func (v *verifier) round(ctx context.Context, r *raft.Raft) error {
	before := v.node.office.Load()
	if before == nil {
		return ErrNotLeader
	}
	if err := v.node.await(ctx, verifyPatience, r.VerifyLeader()); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	if v.node.office.Load() != before || r.CurrentTerm() != before.number {
		return ErrNotLeader
	}
	return nil
}
