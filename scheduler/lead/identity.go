package lead

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// minInstanceKey is the fewest bytes of a worker's instance key.
const minInstanceKey = 16

var errSuperseded = fmt.Errorf("a newer session of the same worker has taken its place: %w only if that one ends", ErrInterrupted)

// guest is a worker at the door.
type guest struct {
	hello *pb.WorkerHello
	key   fsm.Digest
	by    Caller
}

// door is a worker's name: one at a time registers under it.
type door struct{ pool, name string }

// enter waits for the door.
func (t *term) enter(ctx context.Context, d door) (leave func(), err error) {
	for {
		t.mu.Lock()
		busy, ok := t.doors[d]
		if !ok {
			mine := make(chan struct{})
			t.doors[d] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.doors, d)
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-t.office.Done():
			return nil, errOfficeOver
		}
	}
}

// displace asks whether the guest may take the place of a connected worker of
// its name. The same process comes back at once. The same state directory in
// another process is a restart, unless the old one still answers: then the
// directory has been copied.
func (t *term) displace(ctx context.Context, g guest) error {
	rival, _ := t.sessionOf(g.hello.Pool, g.hello.Name)
	switch {
	case rival == nil:
		return nil
	case rival.key != g.key:
		return conflict("worker %s of pool %s is connected with another instance key (from %s): give this worker another --name, or stop the other one",
			g.hello.Name, g.hello.Pool, rival.by.Remote)
	case rival.boot == g.hello.BootId:
		return nil
	case rival.answers(ctx, probeTime):
		return conflict("worker %s of pool %s runs already (from %s) with a copy of this worker's state directory: stop one of them, or give this one a new --state-dir and --name",
			g.hello.Name, g.hello.Pool, rival.by.Remote)
	}
	return context.Cause(ctx)
}

// sessionOf is a worker's session, or nil and why there is none.
func (t *term) sessionOf(pool, name string) (_ *session, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[pool]
	if !ok {
		return nil, fmt.Sprintf("there is no pool %q", pool)
	}
	m, ok := p.roster.members[name]
	if !ok {
		return nil, fmt.Sprintf("pool %s has no worker %q", pool, name)
	}
	if m.session == nil {
		return nil, fmt.Sprintf("worker %s of pool %s is not connected", name, pool)
	}
	return m.session, ""
}

// register makes the state know the worker as it is now. A name goes to another
// instance key only when the old one has been silent for a time to live and has
// no leases.
func (t *term) register(ctx context.Context, g guest) error {
	c := &pb.RegisterWorker{
		Pool: g.hello.Pool, Name: g.hello.Name, KeySha256: g.key[:], Slots: g.hello.Slots,
		Labels: slices.Clone(g.hello.Labels), Version: g.hello.Version, Capability: g.by.CapabilityID,
	}
	slices.SortFunc(c.Labels, func(a, b *pb.Label) int { return strings.Compare(a.GetName(), b.GetName()) })
	var known *fsm.Worker
	t.store.View(func(s *fsm.State) { known, _ = s.Worker(c.Pool, c.Name) })
	switch {
	case known == nil:
	case known.Key != g.key:
		if err := t.mayReplace(known); err != nil {
			return err
		}
		c.Replace = true
		t.log.Info("a worker's name goes to another instance key", "pool", c.Pool, "worker", c.Name)
	case known.Slots == max(c.Slots, 1) && known.Version == c.Version && known.Capability == c.Capability &&
		slices.Equal(known.Labels, labelsOf(c.Labels)):
		return nil
	}
	_, err := t.store.Propose(ctx, &pb.Command{Op: &pb.Command_RegisterWorker{RegisterWorker: c}})
	return err
}

// mayReplace says why the name cannot go to another instance key yet.
func (t *term) mayReplace(known *fsm.Worker) error {
	if known.Leases > 0 {
		return conflict("worker %s of pool %s is bound to another instance key, whose leases (%d) are not over: give this worker another --name, or wait",
			known.Name, known.Pool, known.Leases)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[known.Pool]
	if !ok {
		return noPool(known.Pool)
	}
	var heard time.Duration // or the beginning of the term
	if m, ok := p.roster.members[known.Name]; ok {
		heard = m.lastHeard()
	}
	if wait := heard + p.roster.ttl - t.elapsed(); wait > 0 {
		return conflict("worker %s of pool %s is bound to another instance key, which may still come back: the name is free in %v, or at once with: weir worker forget %s %s",
			known.Name, known.Pool, (wait + time.Second).Truncate(time.Second), known.Pool, known.Name)
	}
	return nil
}

// hasPool says whether the pool exists, also if its event is still on its way.
func (t *term) hasPool(name string) bool {
	var p *fsm.Pool
	t.store.View(func(s *fsm.State) { p, _ = s.Pool(name) })
	if p == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.pools[name]; !ok {
		t.tunePool(p)
	}
	return true
}

func noPool(name string) error {
	return &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("there is no pool %q: see weir pool list, or make it with weir pool create", name)}
}

func conflict(format string, args ...any) error {
	return &fsm.Refusal{Kind: fsm.Conflict, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf(format, args...)}
}
