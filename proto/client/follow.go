package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/pb"
)

// sealPatience is how long Follow waits, after the job has settled, for more of
// a log whose worker is gone.
const sealPatience = time.Minute

// errSilent ends the reading of a log whose rest does not come.
var errSilent = errors.New("the rest of the log does not come")

// Follower is told of a job's life. Its methods are called one at a time.
type Follower interface {
	// Event is called with every change of the job.
	Event(*pb.JobEvent) error
	// Log is called with the log, attempt after attempt, each from its first byte.
	// Where the log stays incomplete, the last call for it says why.
	Log(*pb.LogData) error
}

// Follow watches a job and its log to the end and returns the settled job. An
// attempt that was lost with its worker is followed as far as the cluster has
// its log, however slowly the follower takes it.
func (c *Client) Follow(ctx context.Context, req *pb.WatchRequest, to Follower) (*pb.Job, error) {
	return c.follow(ctx, req, to, grace)
}

func (c *Client) follow(ctx context.Context, req *pb.WatchRequest, to Follower, grace func(*pb.Attempt) time.Duration) (*pb.Job, error) {
	f := &follow{client: c, id: req.Id, to: to, grace: grace, events: make(chan *pb.JobEvent), data: make(chan *pb.LogData)}
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
	grace  func(*pb.Attempt) time.Duration
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
			reader.hold()
			if err := f.to.Log(d); err != nil {
				return err
			}
			reader.resume()
		case err := <-reader.done:
			if errors.Is(err, errSilent) {
				err = f.to.Log(&pb.LogData{Attempt: f.attempt, IncompleteWhy: fmt.Sprintf("nothing more came of it for %v; `weir logs %d` may have the rest later", reader.grace, f.id)})
			}
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
	cancel context.CancelCauseFunc
	grace  time.Duration // once the attempt is over: the longest silence
	silent *time.Timer   // ends the reading then
}

func newReader(f *follow) *reader { return &reader{f: f, cancel: func(error) {}} }

func (r *reader) idle() bool { return r.done == nil }

// advance starts on the next attempt, or bounds the silence of one that ended.
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
	if a := attemptOf(r.f.job, r.f.attempt); a.GetOutcome() != nil && r.silent == nil {
		r.grace = r.f.grace(a)
		r.silent = time.AfterFunc(r.grace, func() { r.cancel(errSilent) })
	}
}

// hold stops counting silence while the follower takes what came.
func (r *reader) hold() {
	if r.silent != nil {
		r.silent.Stop()
	}
}

func (r *reader) resume() {
	if r.silent != nil {
		r.silent.Reset(r.grace)
	}
}

func (r *reader) start(ctx context.Context, attempt uint32) {
	r.f.attempt = attempt
	ctx, r.cancel = context.WithCancelCause(ctx)
	done := make(chan error, 1)
	r.done = done
	go func() { // ends when cancelled; stop waits for it
		err := r.f.client.Tail(ctx, &pb.ReadLogRequest{Job: r.f.id, Attempt: attempt, Follow: true},
			func(d *pb.LogData) error { return send(ctx, r.f.data, d) })
		switch {
		case err != nil && errors.Is(context.Cause(ctx), errSilent):
			err = errSilent
		case errors.Is(err, context.Canceled):
			err = nil
		}
		done <- err
		close(done)
	}()
}

func (r *reader) stop() {
	r.hold()
	r.cancel(nil)
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
	case pb.OutcomeKind_OUTCOME_WORKER_LOST, pb.OutcomeKind_OUTCOME_WORKER_REVOKED, pb.OutcomeKind_OUTCOME_EVICTED:
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
