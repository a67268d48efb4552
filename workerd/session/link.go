package session

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/pb"
)

// Link is the way to the leader while a session lasts.
type Link struct {
	Addr   string // of the leader, or of the node that relays
	Relay  bool
	Leader string // its name

	ctx     context.Context // ends with the session
	session *Session
	cluster string
}

// links remembers the one that is up.
type links struct {
	mu      sync.Mutex
	current *Link
	changed chan struct{} // closed at each change
}

func (l *links) set(to *Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = to
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *links) begin(ctx context.Context, s *Session, st step, w *pb.Welcome) (end func()) {
	l.set(&Link{Addr: st.addr, Relay: st.relay, Leader: w.Leader, ctx: ctx, session: s, cluster: w.ClusterId})
	s.metrics.connected.Set(1)
	if st.relay {
		s.metrics.relayed.Set(1)
	}
	return func() {
		l.set(nil)
		s.metrics.connected.Set(0)
		s.metrics.relayed.Set(0)
	}
}

// Link returns the way to the leader as it is now, nil without a session.
func (s *Session) Link() *Link {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	return s.links.current
}

// LinkChanged is closed when the link is not what it is now any more.
func (s *Session) LinkChanged() <-chan struct{} {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	return s.links.changed
}

// WaitLink waits for a session and returns its link. The only error is ctx's.
func (s *Session) WaitLink(ctx context.Context) (*Link, error) {
	for {
		s.links.mu.Lock()
		link, changed := s.links.current, s.links.changed
		s.links.mu.Unlock()
		if link != nil {
			return link, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		}
	}
}

// Dial opens a second connection to the same node, for bulk that must not delay
// heartbeats. Calls on it use the returned context, which carries what they need
// and ends with ctx or with the session; the connection is closed with it.
func (l *Link) Dial(ctx context.Context) (context.Context, *grpc.ClientConn, error) {
	c, err := l.session.dial(ctx, l.Addr, patience)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(outgoing(ctx, l.session.pass.card(), l.cluster))
	stop := context.AfterFunc(l.ctx, func() { cancel(errEnded) })
	context.AfterFunc(ctx, func() { stop(); c.Close() })
	return ctx, c.ClientConn, nil
}
