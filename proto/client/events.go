package client

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// Events calls each with what happens, in order, each event once, over as many
// nodes as that takes. It begins where req says, and moves req.From and req.Skip on
// with what each has been given: another call goes on from there. A batch without
// events says how far the log is.
func (c *Client) Events(ctx context.Context, req *pb.WatchEventsRequest, each func(*pb.Events) error) error {
	err := c.reopening(ctx, func(ctx context.Context, alive func()) error {
		ctx, leave := context.WithCancel(ctx)
		defer leave()
		s, err := c.Jobs().WatchEvents(ctx, proto.CloneOf(req))
		if err != nil {
			return err
		}
		for {
			batch, err := s.Recv()
			if err != nil {
				return err
			}
			alive()
			if err := each(batch); err != nil {
				return &callerError{err}
			}
			req.From, req.Skip = batch.From, batch.Skip
		}
	}, pb.JobService_WatchEvents_FullMethodName)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	return nil
}
