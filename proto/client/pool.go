package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// dialPatience is how long one address may take before the next is tried.
const dialPatience = time.Second

// maxMessage bounds an answer, in bytes.
const maxMessage = 8 << 20

// node is one address and the connection to it.
type node struct {
	addr string
	conn *grpc.ClientConn
	err  *lastError
}

// pool holds a connection to each address and remembers which one serves.
type pool struct {
	nodes  []*node
	header metadata.MD

	mu      sync.Mutex
	current int
}

func newPool(addrs []string, creds credentials.TransportCredentials, header metadata.MD, agent string) (*pool, error) {
	p := &pool{header: header}
	for _, addr := range addrs {
		n := &node{addr: addr, err: new(lastError)}
		conn, err := grpc.NewClient("passthrough:///"+addr,
			grpc.WithTransportCredentials(remember(creds, n.err)),
			grpc.WithContextDialer(n.err.dial),
			grpc.WithUserAgent(agent),
			grpc.WithInitialWindowSize(StreamWindow), grpc.WithInitialConnWindowSize(ConnWindow),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 2 * time.Second,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("address %q: %w", addr, err), p.close())
		}
		n.conn = conn
		p.nodes = append(p.nodes, n)
	}
	return p, nil
}

func (p *pool) close() error {
	var all error
	for _, n := range p.nodes {
		all = errors.Join(all, n.conn.Close())
	}
	return all
}

func (p *pool) outgoing(ctx context.Context) context.Context {
	md := p.header.Copy()
	if old, ok := metadata.FromOutgoingContext(ctx); ok {
		md = metadata.Join(old, md)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// leave makes the next call begin with another node.
func (p *pool) leave(n *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes[p.current] == n {
		p.current = (p.current + 1) % len(p.nodes)
	}
}

// ready returns a connected node: the current one, or the first of the others
// that connects.
func (p *pool) ready(ctx context.Context) (*node, error) {
	p.mu.Lock()
	start := p.current
	p.mu.Unlock()
	var failed unreachedError
	for i := range p.nodes {
		at := (start + i) % len(p.nodes)
		n := p.nodes[at]
		if err := n.connect(ctx); err != nil {
			failed.causes = append(failed.causes, fmt.Errorf("%s: %w", n.addr, err))
			continue
		}
		p.mu.Lock()
		p.current = at
		p.mu.Unlock()
		return n, nil
	}
	return nil, &failed
}

// connect waits until the connection is up, at most dialPatience.
func (n *node) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	n.conn.Connect()
	for {
		s := n.conn.GetState()
		switch s {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure:
			n.conn.ResetConnectBackoff()
			if err := n.err.get(); err != nil {
				return err
			}
			return errors.New("connection refused or dropped")
		case connectivity.Shutdown:
			return errors.New("the client was closed")
		case connectivity.Idle:
			n.conn.Connect()
		}
		if !n.conn.WaitForStateChange(ctx, s) {
			return fmt.Errorf("no connection within %v", dialPatience)
		}
	}
}

// unreachedError says that no address could be connected to: nothing happened.
type unreachedError struct{ causes []error }

func (e *unreachedError) Error() string {
	lines := make([]string, len(e.causes))
	for i, c := range e.causes {
		lines[i] = c.Error()
	}
	return "no node could be reached: " + strings.Join(lines, "; ")
}

func (e *unreachedError) Unwrap() []error { return e.causes }
