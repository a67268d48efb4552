package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirbuild/weir/proto/pb"
)

// Watch calls each with the job as it is now and after every change, until it
// has settled, over as many nodes and leader changes as that takes.
func (c *Client) Watch(ctx context.Context, req *pb.WatchRequest, each func(*pb.JobEvent) error) error {
	settled := false
	for !settled {
		err := c.reopening(ctx, func(ctx context.Context, alive func()) error {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			s, err := c.Jobs().Watch(ctx, req)
			if err != nil {
				return err
			}
			for {
				e, err := s.Recv()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				alive()
				settled = e.Job.GetState() == pb.JobState_JOB_STATE_SETTLED
				if err := each(e); err != nil {
					return &callerError{err}
				}
				if settled { // nothing comes after that; a stream that breaks now is no matter
					return nil
				}
			}
		}, pb.JobService_Watch_FullMethodName)
		if err != nil {
			return fmt.Errorf("watch job %d: %w", req.Id, err)
		}
	}
	return nil
}

// callerError is an error of the caller's own function: never retried.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }
func (e *callerError) Unwrap() error { return e.err }

// reopening runs a stream's life again and again until it ends well, fails for
// good, or makes no progress within the client's patience.
func (c *Client) reopening(ctx context.Context, life func(ctx context.Context, alive func()) error, method string) error {
	t := c.newTry(ctx)
	defer func() { t.stop() }()
	for {
		progress := false
		err := life(ctx, func() { progress = true })
		var own *callerError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &own):
			return own.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !retryable(method, err):
			return err
		}
		if progress {
			t.stop()
			t = c.newTry(ctx)
		}
		if !t.again(err) {
			return c.explain(ctx, err)
		}
	}
}
