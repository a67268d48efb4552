package auth

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/fsm"
)

// streams knows every open stream of this node by the capability that opened it.
type streams struct {
	handlers sync.WaitGroup

	mu   sync.Mutex
	open map[string]map[*stream]struct{}
}

// stream is a server stream that can be ended from outside of its handler.
type stream struct {
	grpc.ServerStream
	ctx context.Context
	end context.CancelCauseFunc

	capability string // under which it is in streams.open, whose mu guards it
}

// ended is the cause of a stream that was ended from outside.
type ended struct{ err error }

func (e *ended) Error() string { return e.err.Error() }

func (e *ended) Unwrap() error { return e.err }

type streamKey struct{}

func newStream(ss grpc.ServerStream, id Identity) *stream {
	s := &stream{ServerStream: ss}
	ctx, end := context.WithCancelCause(With(ss.Context(), id))
	s.ctx, s.end = context.WithValue(ctx, streamKey{}, s), end
	return s
}

// Context ends with the stream.
func (s *stream) Context() context.Context { return s.ctx }

// End ends the stream whose context ctx is, with err as its status, even while
// its handler is blocked. Without such a stream it does nothing.
func End(ctx context.Context, err error) {
	if s, ok := ctx.Value(streamKey{}).(*stream); ok {
		s.end(&ended{err})
	}
}

// add registers a stream; those of nodes have no capability.
func (t *streams) add(capability string, s *stream) (remove func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.link(capability, s)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.unlink(s)
	}
}

// move registers an open stream under another capability.
func (t *streams) move(s *stream, capability string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, open := t.open[s.capability][s]; open {
		t.unlink(s)
		t.link(capability, s)
	}
}

func (t *streams) link(capability string, s *stream) {
	if t.open[capability] == nil {
		t.open[capability] = map[*stream]struct{}{}
	}
	t.open[capability][s] = struct{}{}
	s.capability = capability
}

func (t *streams) unlink(s *stream) {
	delete(t.open[s.capability], s)
	if len(t.open[s.capability]) == 0 {
		delete(t.open, s.capability)
	}
}

// serve runs the handler in its own goroutine, so that the stream can end while
// the handler is blocked in it. When the client ends the stream the handler's
// own return is awaited.
func (t *streams) serve(s *stream, handler func() error) error {
	done := make(chan error, 1)
	t.handlers.Go(func() { done <- handler() })
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done():
	}
	if cause, ok := errors.AsType[*ended](context.Cause(s.ctx)); ok {
		return cause.err
	}
	return <-done
}

// revoke ends the streams of a capability and returns how many there were.
func (t *streams) revoke(capability string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.open[capability] {
		s.end(&ended{revoked(capability)})
	}
	return len(t.open[capability])
}

// EndAll ends every open stream with err, because the node stops.
func (g *Guard) EndAll(err error) {
	g.streams.mu.Lock()
	defer g.streams.mu.Unlock()
	for _, open := range g.streams.open {
		for s := range open {
			s.end(&ended{err})
		}
	}
}

// holders returns the capabilities that have open streams.
func (t *streams) holders() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]string, 0, len(t.open))
	for id := range t.open {
		ids = append(ids, id)
	}
	return ids
}

// Revoked ends the open streams of a capability.
func (g *Guard) Revoked(capability string) {
	if n := g.streams.revoke(capability); n > 0 {
		g.audit.Info("streams ended", "capability", capability, "streams", n, "reason", "the capability was revoked")
	}
}

// Sweep ends the streams of every capability that is revoked by now: for when
// events were lost, or the state was replaced by a snapshot.
func (g *Guard) Sweep() {
	for _, id := range g.streams.holders() {
		if g.isRevoked(id) {
			g.Revoked(id)
		}
	}
}

// Wait returns when no handler of a stream is running any more.
func (g *Guard) Wait() { g.streams.handlers.Wait() }

func (g *Guard) isRevoked(capability string) bool {
	if capability == "" {
		return false
	}
	gone := true // also when a capability is not in the state at all
	g.State.View(func(s *fsm.State) {
		if c, ok := s.Capability(capability); ok {
			gone = c.Revoked != 0
		}
	})
	return gone
}
