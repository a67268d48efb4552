package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
)

// Tail calls each with an attempt's log, byte after byte from the request's
// offset, and goes on at the same byte after a lost node. With Follow it ends
// when the log is complete; without, at its end as it is now. The last call
// has Complete set, or IncompleteWhy.
func (c *Client) Tail(ctx context.Context, req *pb.ReadLogRequest, each func(*pb.LogData) error) error {
	at := cursor{attempt: req.Attempt, offset: req.Offset}
	for !at.done {
		err := c.reopening(ctx, func(ctx context.Context, alive func()) error {
			s, err := c.Jobs().ReadLog(ctx, &pb.ReadLogRequest{
				Job: req.Job, Attempt: at.attempt, Offset: at.offset, Follow: req.Follow, Local: req.Local, Packed: true,
			})
			if err != nil {
				return err
			}
			return at.drain(s.Recv, alive, each)
		}, pb.JobService_ReadLog_FullMethodName)
		if err != nil {
			return fmt.Errorf("read log of job %d: %w", req.Job, err)
		}
		if !req.Follow {
			return nil
		}
	}
	return nil
}

// cursor is the next byte wanted of which attempt.
type cursor struct {
	attempt uint32
	offset  int64
	done    bool
}

func (c *cursor) drain(recv func() (*pb.LogData, error), alive func(), each func(*pb.LogData) error) error {
	for {
		d, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		alive()
		if len(d.Packed) > 0 {
			if d.Data, err = logpack.Unpack(nil, d.Packed); err != nil {
				return err
			}
			d.Packed = nil
		}
		if err := c.accept(d); err != nil {
			return err
		}
		if err := each(d); err != nil {
			return &callerError{err}
		}
	}
}

// accept moves the cursor, cutting what was seen before from d.
func (c *cursor) accept(d *pb.LogData) error {
	if c.attempt == 0 {
		c.attempt = d.Attempt
	}
	c.done = d.Complete || d.IncompleteWhy != "" // a follow too ends where the worker is lost
	if len(d.Data) == 0 {
		return nil
	}
	if c.offset < 0 {
		c.offset = d.Offset
	}
	seen := c.offset - d.Offset
	if seen < 0 {
		return &callerError{fmt.Errorf("log of attempt %d: bytes %d to %d are missing in the answer", d.Attempt, c.offset, d.Offset)}
	}
	seen = min(seen, int64(len(d.Data)))
	d.Data = d.Data[seen:]
	d.Offset += seen
	c.offset += int64(len(d.Data))
	return nil
}
