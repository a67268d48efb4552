package raftnode

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// term is one stay in office.
type term struct {
	ctx    context.Context
	end    context.CancelCauseFunc
	number uint64
	since  time.Time // won
}

var errOfficeLost = errors.New("the office is lost")

// terms turns Raft's notices into one term after the other.
type terms struct {
	node *Node
	lead func(context.Context) error

	mu   sync.Mutex
	next *term // won and not yet begun
	wake chan struct{}
}

func newTerms(n *Node, lead func(context.Context) error) *terms {
	return &terms{node: n, lead: lead, wake: make(chan struct{}, 1)}
}

// watch takes every notice at once, since Raft blocks on them, and ends a term
// the moment it is lost.
func (t *terms) watch(ctx context.Context, notices <-chan bool) {
	var current *term
	end := func() {
		if current != nil {
			t.node.office.CompareAndSwap(current, nil)
			current.end(errOfficeLost)
			current = nil
		}
	}
	defer end()
	for {
		select {
		case won := <-notices:
			end()
			if won {
				current = t.won(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (t *terms) won(ctx context.Context) *term {
	won := &term{number: t.node.raft.Load().CurrentTerm(), since: time.Now()}
	won.ctx, won.end = context.WithCancelCause(ctx)
	t.node.contacts.forget()
	t.node.metrics.terms.Inc()
	t.mu.Lock()
	t.next = won
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return won
}

// serve runs one term after the other until ctx ends.
func (t *terms) serve(ctx context.Context) {
	for {
		select {
		case <-t.wake:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		next := t.next
		t.next = nil
		t.mu.Unlock()
		if next != nil {
			t.serveTerm(next)
		}
	}
}

// serveTerm returns when the term is over and its work has ended.
func (t *terms) serveTerm(won *term) {
	defer won.end(errOfficeLost)
	n := t.node
	if !t.barrier(won) {
		return
	}
	n.office.Store(won)
	defer n.office.CompareAndSwap(won, nil)
	for won.ctx.Err() == nil {
		n.log.Info("in office", "term", won.number)
		err := t.lead(won.ctx)
		n.log.Info("out of office", "term", won.number)
		if won.ctx.Err() == nil {
			n.log.Warn("the leader's work ended while in office; handing it over", "term", won.number, "error", err)
			t.handOver(won)
		}
	}
}

// workAgain is how long a leader whose work has ended, and whose office nobody
// takes, rests before it works on.
const workAgain = time.Second

// handOver returns when the term is over, or a moment after it found nobody to
// take the office: an office that is kept must not stay idle.
func (t *terms) handOver(won *term) {
	err := t.node.Transfer(won.ctx, "")
	if err == nil || won.ctx.Err() != nil {
		<-won.ctx.Done()
		return
	}
	t.node.log.Warn("office not handed over; beginning its work anew", "term", won.number, "error", err)
	select {
	case <-time.After(workAgain):
	case <-won.ctx.Done():
	}
}

// barrier waits until all that was committed before is applied here.
func (t *terms) barrier(won *term) bool {
	for won.ctx.Err() == nil {
		err := t.node.await(won.ctx, t.node.config.ProposeTimeout, t.node.raft.Load().Barrier(time.Second))
		if err == nil {
			return true
		}
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
			return false
		}
	}
	return false
}
