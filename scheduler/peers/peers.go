package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
)

// MaxMessage bounds one message between nodes: a page of jobs is the largest.
const MaxMessage = 16 << 20

// Config is what a set of peers needs.
type Config struct {
	Credentials credentials.TransportCredentials                            // this node's, for dialing nodes
	Cluster     func() string                                               // the cluster's id; empty while there is none
	Members     func() []raftnode.Member                                    // as this node knows them
	Dial        func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
}

// Set is the connections to the other members.
type Set struct {
	Config

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn // by address
	closed bool
}

// New returns a set without connections: they are made when they are asked for.
func New(c Config) *Set {
	return &Set{Config: c, conns: map[string]*grpc.ClientConn{}}
}

// Members returns the members of the cluster, this node among them.
func (s *Set) Members() []raftnode.Member { return s.Config.Members() }

// Conn returns the connection to a member, given by its node id or its address.
// It does not wait for the connection: calls on it do, or fail.
func (s *Set) Conn(member string) (*grpc.ClientConn, error) {
	address, err := s.address(member)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("connect to %s: this node is stopping", address)
	}
	if c, ok := s.conns[address]; ok {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///"+address, s.options()...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	s.conns[address] = c
	return c, nil
}

func (s *Set) address(member string) (string, error) {
	for _, m := range s.Members() {
		if string(m.ID) == member {
			return m.Address, nil
		}
	}
	if _, _, err := net.SplitHostPort(member); err != nil {
		return "", fmt.Errorf("connect to %q: it is neither a member's id nor an address", member)
	}
	return member, nil
}

// pruneEvery is how long a connection to a former member may stay.
const pruneEvery = time.Minute

// Run closes connections to addresses that are no member's any more, until ctx
// ends.
func (s *Set) Run(ctx context.Context) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.prune()
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Set) prune() {
	kept := map[string]bool{}
	for _, m := range s.Members() {
		kept[m.Address] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for address, c := range s.conns {
		if !kept[address] {
			c.Close() // its calls fail; the peer is gone
			delete(s.conns, address)
		}
	}
}

// Close ends every connection; calls in progress fail.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	clear(s.conns)
	return errors.Join(errs...)
}

func (s *Set) options() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(s.Credentials),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithInitialWindowSize(client.StreamWindow), grpc.WithInitialConnWindowSize(client.ConnWindow),
		grpc.WithUnaryInterceptor(s.unary),
		grpc.WithStreamInterceptor(s.stream),
		grpc.WithDisableServiceConfig(),
	}
	if s.Dial != nil {
		options = append(options, grpc.WithContextDialer(s.Dial))
	}
	return options
}

func (s *Set) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return call(s.mark(ctx), method, req, reply, cc, opts...)
}

func (s *Set) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(s.mark(ctx), desc, cc, method, opts...)
}

// mark adds the cluster's id to the call.
func (s *Set) mark(ctx context.Context) context.Context {
	if id := s.Cluster(); id != "" {
		return metadata.AppendToOutgoingContext(ctx, reason.MetaClusterID, id)
	}
	return ctx
}
