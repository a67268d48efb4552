package client

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/pb"
)

// A node whose stream says nothing for silentAfter is asked whether it is there,
// and has answerIn to say so. gRPC's own keepalive takes three times as long and
// cannot be set lower; a log should not stand still for that when a machine has
// lost its power.
const (
	silentAfter = 2 * time.Second
	answerIn    = 2 * time.Second
)

// stream leaves its node when the node can no longer serve it.
type stream struct {
	grpc.ClientStream
	client *Client
	node   *node
	end    context.CancelFunc
	heard  atomic.Int64 // when a message came last: since the client began
	gone   atomic.Bool  // the node does not answer
}

func (c *Client) openOnce(ctx, tryCtx context.Context, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	n, err := c.pool.ready(tryCtx)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	raw, err := n.conn.NewStream(c.pool.outgoing(ctx), desc, method, opts...)
	if err != nil {
		end()
		c.pool.leave(n)
		return nil, err
	}
	s := &stream{ClientStream: raw, client: c, node: n, end: end}
	s.heard.Store(int64(time.Since(c.begun)))
	go s.watch(ctx) // ends with the stream, as gRPC's own goroutines for it do
	return s, nil
}

// RecvMsg implements grpc.ClientStream.
func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		s.heard.Store(int64(time.Since(s.client.begun)))
		return nil
	}
	s.end()
	if s.gone.Load() {
		err = status.Errorf(codes.Unavailable, "node at %s does not answer any more", s.node.addr)
	}
	if elsewhere(err) {
		s.client.pool.leave(s.node)
	}
	return err
}

// watch ends the stream when its node is silent and does not answer when asked.
func (s *stream) watch(ctx context.Context) {
	ticker := time.NewTicker(silentAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if silent := time.Since(s.client.begun) - time.Duration(s.heard.Load()); silent < silentAfter {
			continue
		}
		if !s.node.answers(ctx, s.client.pool) && ctx.Err() == nil {
			s.gone.Store(true)
			s.end()
			return
		}
	}
}

// answers asks a node for anything: a refusal is an answer too.
func (n *node) answers(ctx context.Context, p *pool) bool {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	_, err := pb.NewMembershipClient(n.conn).Status(p.outgoing(ctx), &pb.StatusRequest{})
	return status.Code(err) != codes.DeadlineExceeded
}
