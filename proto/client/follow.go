package client

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/pb"
)

// sealPatience is how long Follow waits, after the job has settled, for the
// rest of a log whose worker is gone.
const sealPatience = time.Minute

// Follower is told of a job's life. Its methods are called one at a time.
type Follower interface {
	// Event is called with every change of the job.
	Event(*pb.JobEvent) error
	// Log is called with the log, attempt after attempt, each from its first byte.
	Log(*pb.LogData) error
}

// Follow watches a job and its log to the end and returns the settled job. An
// attempt that was lost with its worker is followed as far as the cluster has
// its log.
func (c *Client) Follow(ctx context.Context, req *pb.WatchRequest, to Follower) (*pb.Job, error) {
	f := &follow{client: c, id: req.Id, to: to, events: make(chan *pb.JobEvent), data: make(chan *pb.LogData)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(f.events)
		return c.Watch(ctx, req, func(e *pb.JobEvent) error { return send(ctx, f.events, e) })
	})
	group.Go(func() error { return f.run(ctx) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return f.job, nil
}

type follow struct {
	client *Client
	id     uint64
	to     Follower
	events chan *pb.JobEvent
	data   chan *pb.LogData

	job     *pb.Job
	attempt uint32 // whose log is being read, or was last
}

// run alternates between events and log bytes, one attempt's log at a time.
func (f *follow) run(ctx context.Context) error {
	reader := newReader(f)
	defer func() { reader.stop() }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-f.events:
			if !ok {
				f.events = nil
				if f.job == nil { // the watch failed; its error is the group's
					return nil
				}
				break
			}
			f.job = e.Job
			if err := f.to.Event(e); err != nil {
				return err
			}
		case d := <-f.data:
			if err := f.to.Log(d); err != nil {
				return err
			}
		case err := <-reader.done:
			if err != nil {
				return err
			}
			reader.stop()
			reader = newReader(f)
		}
		reader.advance(ctx)
		if f.events == nil && reader.idle() {
			return nil
		}
	}
}

// reader is the goroutine that tails one attempt.
type reader struct {
	f      *follow
	done   chan error // nil while it reads nothing
	cancel context.CancelFunc
	ending bool // the attempt is over: only a grace is left
}

func newReader(f *follow) *reader { return &reader{f: f, cancel: func() {}} }

func (r *reader) idle() bool { return r.done == nil }

// advance starts on the next attempt, or bounds the reading of one that ended.
func (r *reader) advance(ctx context.Context) {
	if r.f.job == nil {
		return
	}
	if r.idle() {
		if next := r.f.next(); next != nil {
			r.start(ctx, next.Number)
		}
		return
	}
	if a := attemptOf(r.f.job, r.f.attempt); a.GetOutcome() != nil && !r.ending {
		r.ending = true
		stop := time.AfterFunc(grace(a), r.cancel)
		cancel := r.cancel
		r.cancel = func() { stop.Stop(); cancel() }
	}
}

func (r *reader) start(ctx context.Context, attempt uint32) {
	r.f.attempt = attempt
	ctx, r.cancel = context.WithCancel(ctx)
	done := make(chan error, 1)
	r.done = done
	go func() { // ends when cancelled; stop waits for it
		err := r.f.client.Tail(ctx, &pb.ReadLogRequest{Job: r.f.id, Attempt: attempt, Follow: true},
			func(d *pb.LogData) error { return send(ctx, r.f.data, d) })
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
		close(done)
	}()
}

func (r *reader) stop() {
	r.cancel()
	if r.done != nil {
		for range r.done {
		}
	}
}

// next is the first attempt whose log has not been read.
func (f *follow) next() *pb.Attempt {
	for _, a := range f.job.Attempts {
		if a.Number > f.attempt {
			return a
		}
	}
	return nil
}

func attemptOf(j *pb.Job, number uint32) *pb.Attempt {
	for _, a := range j.Attempts {
		if a.Number == number {
			return a
		}
	}
	return nil
}

// grace is how long the rest of an ended attempt's log is waited for.
func grace(a *pb.Attempt) time.Duration {
	switch a.Outcome.Kind {
	case pb.OutcomeKind_OUTCOME_WORKER_LOST, pb.OutcomeKind_OUTCOME_WORKER_REVOKED:
		return 2 * time.Second
	}
	return sealPatience
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
