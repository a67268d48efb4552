package workerd

import (
	"context"
	"sync"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
)

// table holds the attempts from their grant until their result is stored, and
// guards the slots.
type table struct {
	slots int
	wake  chan struct{} // buffer 1: an attempt has ended

	mu      sync.Mutex
	used    int
	running map[uint64]*attempt
	closed  string // why no grant is accepted any more
}

func newTable(slots int) *table {
	return &table{slots: slots, wake: make(chan struct{}, 1), running: map[uint64]*attempt{}}
}

// enter takes an attempt in. refusal says why it must not run; it is in the table
// all the same until its result is stored.
func (t *table) enter(a *attempt) (refusal string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed != "":
		refusal = t.closed
	case t.used+a.slots > t.slots:
		refusal = "the worker has no free slot for it"
	}
	if refusal != "" {
		a.slots = 0
	}
	t.used += a.slots
	t.running[a.lease] = a
	return refusal
}

func (t *table) leave(a *attempt) {
	t.mu.Lock()
	delete(t.running, a.lease)
	t.used -= a.slots
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *table) get(lease uint64) (*attempt, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.running[lease]
	return a, ok
}

// attempts returns a copy.
func (t *table) attempts() []*attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*attempt, 0, len(t.running))
	for _, a := range t.running {
		all = append(all, a)
	}
	return all
}

func (t *table) load() (running, slots int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running), t.used
}

// close makes every later grant be refused, for this reason.
func (t *table) close(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = why
}

// closeWhenIdle closes the table if nothing runs, and reports whether it did.
func (t *table) closeWhenIdle(why string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) > 0 {
		return false
	}
	t.closed = why
	return true
}

// attempt is one lease's life on this worker.
type attempt struct {
	lease uint64
	grant *pb.Grant
	slots int

	ctx    context.Context
	cancel context.CancelCauseFunc // with one of executor's causes
	kill   chan struct{}           // closed: no grace

	mu     sync.Mutex
	fenced bool
	killed bool
	log    interface{ Size() int64 } // nil until there is one
}

func newAttempt(g *pb.Grant) *attempt {
	a := &attempt{lease: g.Lease, grant: g, kill: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	return a
}

// stop ends the attempt for a cause of package executor's. A fence and a kill
// also end the grace of an earlier, polite stop.
func (a *attempt) stop(cause error) {
	a.cancel(cause)
	if cause == executor.ErrCancelled {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fenced = a.fenced || cause == executor.ErrFenced
	if !a.killed {
		a.killed = true
		close(a.kill)
	}
}

func (a *attempt) isFenced() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fenced
}

func (a *attempt) hasLog(log interface{ Size() int64 }) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log = log
}

func (a *attempt) logBytes() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log == nil {
		return 0
	}
	return a.log.Size()
}
