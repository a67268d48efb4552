package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// DefaultPatience is how long a call keeps trying while no node can answer it,
// before the nodes are asked what is wrong. The two together stay below 5 s.
const DefaultPatience = 3500 * time.Millisecond

// Options tune a client. The zero value is ready to use.
type Options struct {
	Patience  time.Duration     // 0: DefaultPatience
	Notice    func(line string) // told of a retry, not twice of the same cause within ten seconds; may be nil
	ClusterID string            // refuse to talk to any other cluster
	Agent     string            // user agent, such as "weir/1.2"
}

// Client talks to one cluster. It is safe for concurrent use.
type Client struct {
	pool     *pool
	patience time.Duration
	notices  *notices
	begun    time.Time
}

// New makes a client of the cluster that the capability names. It dials
// nothing: the first call does.
func New(c capability.Capability, o Options) (*Client, error) {
	if c.IsZero() {
		return nil, errors.New("new client: no capability")
	}
	md := metadata.Pairs(reason.MetaAuthorization, "Bearer "+c.Token().Reveal())
	return open(c.Addrs(), mtls.DialingPinned(c.Pins()), md, o)
}

// NewWithCredentials makes a client that is known by its certificate instead of
// a capability.
func NewWithCredentials(addrs []string, creds credentials.TransportCredentials, o Options) (*Client, error) {
	return open(addrs, creds, metadata.MD{}, o)
}

func open(addrs []string, creds credentials.TransportCredentials, md metadata.MD, o Options) (*Client, error) {
	if o.ClusterID != "" {
		md.Set(reason.MetaClusterID, o.ClusterID)
	}
	p, err := newPool(addrs, creds, md, o.Agent)
	if err != nil {
		return nil, err
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	return &Client{pool: p, patience: o.Patience, notices: &notices{tell: o.Notice}, begun: time.Now()}, nil
}

// RetryFor is the same client with another patience.
func (c *Client) RetryFor(d time.Duration) *Client {
	return &Client{pool: c.pool, patience: d, notices: c.notices, begun: c.begun}
}

// Close ends all connections, and with them every open call.
func (c *Client) Close() error { return c.pool.close() }

// Jobs, Admin and Members are the plain services, with the client's retries.
func (c *Client) Jobs() pb.JobServiceClient    { return pb.NewJobServiceClient(c) }
func (c *Client) Admin() pb.AdminServiceClient { return pb.NewAdminServiceClient(c) }
func (c *Client) Members() pb.MembershipClient { return pb.NewMembershipClient(c) }

var _ grpc.ClientConnInterface = (*Client)(nil)

// Invoke makes a unary call on any node that answers.
func (c *Client) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	t := c.newTry(ctx)
	defer t.stop()
	var last error // that said more than that time was up
	for {
		err := c.invokeOnce(t.ctx, method, args, reply, opts)
		late := status.Code(err) == codes.DeadlineExceeded && t.ctx.Err() != nil
		if err == nil || !late && !retryable(method, err) {
			return err
		}
		if late && last != nil && repeatable[method] {
			err = last
		}
		if late || !t.again(err) {
			return c.explain(ctx, err)
		}
		last = err
	}
}

func (c *Client) invokeOnce(ctx context.Context, method string, args, reply any, opts []grpc.CallOption) error {
	n, err := c.pool.ready(ctx)
	if err != nil {
		return err
	}
	err = n.conn.Invoke(c.pool.outgoing(ctx), method, args, reply, opts...)
	if err != nil && elsewhere(err) {
		c.pool.leave(n)
	}
	return err
}

// NewStream opens a stream on any node that answers. A stream that breaks
// later is its reader's to open again: Watch, Tail and Follow do.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	t := c.newTry(ctx)
	defer t.stop()
	for {
		s, err := c.openOnce(ctx, t.ctx, desc, method, opts)
		if err == nil || !retryable(method, err) {
			return s, err
		}
		if !t.again(err) {
			return nil, c.explain(ctx, err)
		}
	}
}
