package client

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// NewRequestKey makes a key for one submit and its repeats.
func NewRequestKey(now time.Time) *pb.RequestKey {
	return &pb.RequestKey{Id: rand.Text(), CreatedMs: now.UnixMilli()}
}

// Submit makes a job, once: the request gets a key if it has none, and every
// retry carries the same one.
func (c *Client) Submit(ctx context.Context, req *pb.SubmitRequest) (*pb.SubmitReply, error) {
	if req.Key == nil {
		req.Key = NewRequestKey(time.Now())
	}
	return c.Jobs().Submit(ctx, req)
}
