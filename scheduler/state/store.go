package state

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

// Store is the state on one node. Open, then Run.
type Store struct {
	node    *raftnode.Node
	machine *machine
	clock   clock
	begun   time.Time // origin of the monotonic readings
	subs    subscriptions

	mu   sync.Mutex
	term context.Context // nil: not in office
}

// Open opens the node's stores with an empty state in front of them. Nothing
// talks to anyone yet.
func Open(cfg raftnode.Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	s := &Store{begun: time.Now()}
	s.machine = &machine{log: cfg.Logger.Named("state"), clock: &s.clock, mono: s.mono, subs: &s.subs, history: newHistory(), state: fsm.New()}
	node, err := raftnode.Open(cfg, s.machine)
	if err != nil {
		return nil, err
	}
	s.node = node
	return s, nil
}

// Run runs the node until ctx ends, as Node.Run does, and calls lead for each
// term of office.
func (s *Store) Run(ctx context.Context, lead func(term context.Context) error) error {
	return s.node.Run(ctx, func(term context.Context) error {
		s.clock.takeOffice(s.mono())
		s.enter(term)
		defer s.leave()
		return lead(term)
	})
}

// Node is the Raft member below.
func (s *Store) Node() *raftnode.Node { return s.node }

func (s *Store) enter(term context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = term
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = nil
}

// Leading returns the context of the term that this node is in office for.
func (s *Store) Leading() (term context.Context, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term, s.term != nil && s.term.Err() == nil
}

// Now is the cluster's time in milliseconds since the Unix epoch: on the leader
// what the next command will carry, on others an estimate of it.
func (s *Store) Now() int64 { return s.clock.read(s.mono(), time.Now()) }

func (s *Store) mono() time.Duration { return time.Since(s.begun) }

// Propose has a command committed and applied, and returns its result. It sets
// the command's time. A refusal is returned as an error, a *fsm.Refusal, beside
// the result. Other errors are the node's: all but ErrUnknownOutcome mean that
// nothing happened.
func (s *Store) Propose(ctx context.Context, c *pb.Command) (fsm.Result, error) {
	data, err := s.stamp(c)
	if err != nil {
		return fsm.Result{}, err
	}
	return resultOf(s.node.Propose(ctx, data))
}

// ProposeAsync is Propose without waiting: done is called once, from the
// goroutine that commits or from this one, and must neither wait nor work.
func (s *Store) ProposeAsync(c *pb.Command, done func(fsm.Result, error)) {
	data, err := s.stamp(c)
	if err != nil {
		done(fsm.Result{}, err)
		return
	}
	s.node.ProposeAsync(data, func(result any, err error) { done(resultOf(result, err)) })
}

func (s *Store) stamp(c *pb.Command) ([]byte, error) {
	c.IssuedAtMs = s.Now()
	data, err := proto.Marshal(c)
	if err != nil {
		return nil, &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf("the command cannot be stored: %v", err)}
	}
	return data, nil
}

func resultOf(result any, err error) (fsm.Result, error) {
	if err != nil {
		return fsm.Result{}, err
	}
	r := *result.(*fsm.Result)
	if r.Refusal != nil {
		return r, r.Refusal
	}
	return r, nil
}

// View calls f with the state while nothing is applied. What it sees is this
// node's own, and may be old. f must be short and must not block, nor call View.
// The records it finds are immutable and may be kept; the state may not.
func (s *Store) View(f func(*fsm.State)) { s.node.View(func() { f(s.machine.state) }) }

// Read is a View of everything that was acknowledged before the call. Only the
// leader has it; on others it fails with raftnode.ErrNotLeader.
func (s *Store) Read(ctx context.Context, f func(*fsm.State)) error {
	if err := s.node.Verify(ctx); err != nil {
		return err
	}
	s.View(f)
	return nil
}

// Copy returns the state as it is now, to be read at leisure and without a lock.
// together, if not nil, is called at the same moment of the state.
func (s *Store) Copy(together func()) *fsm.State {
	var c *fsm.State
	s.View(func(*fsm.State) {
		c = s.machine.clone()
		if together != nil {
			together()
		}
	})
	return c
}

// WaitFor returns when the state on this node is as cond wants it. cond is
// called as View's f is, once and then after each change.
func (s *Store) WaitFor(ctx context.Context, cond func(*fsm.State) bool) error {
	sub := s.Subscribe("wait")
	defer sub.Close()
	for met := false; ; {
		sub.Take(nil)
		if s.View(func(st *fsm.State) { met = cond(st) }); met {
			return nil
		}
		select {
		case <-sub.Ready():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
