package api

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
)

// Watch sends a job's state now and after each change, until it settles. While
// the job waits, its place and the reason are sent when they change, at most
// once a second. It ends as no_leader when this node's office does. With
// CancelOnDisconnect the job is cancelled when the client leaves and does not
// come back.
func (s *Server) Watch(req *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.JobEvent]) error {
	ctx, cancel, err := s.whileLeading(stream.Context())
	if err != nil {
		return err
	}
	defer cancel()
	w := s.watches.watchJob(fsm.JobID(req.Id))
	defer s.watches.forgetJob(w)
	if !req.CancelOnDisconnect {
		return s.watch(ctx, w, stream)
	}
	id := auth.From(ctx)
	if err := mayKeep(id); err != nil {
		return err
	}
	s.watches.keep(w, keeper(id))
	err = s.watch(ctx, w, stream)
	if w.seen.job != nil && left(stream.Context()) { // it was the caller's to see
		err = errors.Join(err, s.abandon(w, id))
	}
	return err
}

func (s *Server) watch(ctx context.Context, w *jobWatch, stream grpc.ServerStreamingServer[pb.JobEvent]) error {
	if err := s.Store.Read(ctx, func(*fsm.State) {}); err != nil {
		return err
	}
	for {
		job, refusal := s.localJob(uint64(w.id))
		if refusal != nil {
			return refusal
		}
		if err := auth.From(ctx).MaySee(job); err != nil {
			return err
		}
		s.watches.waits(w, job.Pool, job.Waiting())
		if now := s.seeJob(job); now != w.seen {
			event := &pb.JobEvent{Job: fsm.JobPB(job, true), Ahead: now.ahead, Why: now.why}
			if err := stream.Send(event); err != nil {
				return err
			}
			w.seen = now
		}
		if job.State == pb.JobState_JOB_STATE_SETTLED {
			return nil
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sight is what a watcher is shown. Records of the state never change, so an
// equal pointer is an equal job.
type sight struct {
	job   *fsm.Job
	ahead uint64
	why   string
}

func (s *Server) seeJob(job *fsm.Job) sight {
	now := sight{job: job}
	if job.Waiting() {
		if ahead, why, _, err := s.Leader.Explain(job.ID); err == nil {
			now.ahead, now.why = uint64(ahead), why
		}
	}
	return now
}

// WatchSettled sends the jobs that settle from now on: those of the caller's
// client, or everyone's for a caller that has none. The stream's headers say
// that it has begun.
func (s *Server) WatchSettled(_ *pb.WatchSettledRequest, stream grpc.ServerStreamingServer[pb.SettledJobs]) error {
	ctx, cancel, err := s.whileLeading(stream.Context())
	if err != nil {
		return err
	}
	defer cancel()
	w := s.watches.watchSettled(auth.From(ctx))
	defer s.watches.forgetSettled(w)
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		batch, err := w.take()
		if err != nil {
			return err
		}
		if err := stream.Send(batch); err != nil {
			return err
		}
	}
}

// whileLeading returns a context that also ends, as no_leader, with this node's
// office.
func (s *Server) whileLeading(ctx context.Context) (context.Context, context.CancelFunc, error) {
	term, ok := s.Store.Leading()
	if !ok {
		return nil, nil, raftnode.ErrNotLeader
	}
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(term, func() {
		end(fmt.Errorf("node %s leads no more: %w", s.Name, raftnode.ErrNotLeader))
	})
	return ctx, func() { stop(); end(errors.New("the watch is over")) }, nil
}
