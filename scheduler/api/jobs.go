package api

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// The most in one answer of ListJobs. The bytes leave room for one more job
// below what a client receives.
const (
	maxPage      = 1000
	maxPageBytes = MaxMessage / 2
)

// read shows the state: this node's own when the caller takes a stale answer,
// else the leader's, which is as new as every acknowledged write.
func (s *Server) read(ctx context.Context, stale bool, f func(*fsm.State)) error {
	if stale {
		s.Store.View(f)
		return nil
	}
	return s.Store.Read(ctx, f)
}

// GetJob returns one job.
func (s *Server) GetJob(ctx context.Context, req *pb.GetJobRequest) (*pb.Job, error) {
	var job *fsm.Job
	var missing error
	err := s.read(ctx, req.Stale, func(st *fsm.State) { job, missing = st.Job(fsm.JobID(req.Id)) })
	if err := errors.Join(err, missing); err != nil {
		return nil, err
	}
	if err := auth.From(ctx).MaySee(job); err != nil {
		return nil, err
	}
	return fsm.JobPB(job, true), nil
}

// ListJobs returns a page of jobs, newest first. A page may be short, or empty,
// while there are more.
func (s *Server) ListJobs(ctx context.Context, req *pb.ListJobsRequest) (*pb.ListJobsReply, error) {
	id := auth.From(ctx)
	filter, err := listFilter(id, req)
	if err != nil {
		return nil, err
	}
	if req.MaxAgeMs > 0 {
		filter.Since = max(s.Store.Now()-req.MaxAgeMs, 0)
	}
	var page []*fsm.Job
	var next fsm.JobID
	if err := s.read(ctx, req.Stale, func(st *fsm.State) { page, next = st.Jobs(filter) }); err != nil {
		return nil, err
	}
	reply := &pb.ListJobsReply{NextBefore: uint64(next)}
	size := 0
	for _, job := range page {
		if !id.SeesJob(job.Client, job.Pool) {
			continue
		}
		shown := fsm.JobPB(job, false)
		reply.Jobs = append(reply.Jobs, shown)
		if size += proto.Size(shown); size > maxPageBytes {
			reply.NextBefore = shown.Id
			break
		}
	}
	return reply, nil
}

func listFilter(id auth.Identity, req *pb.ListJobsRequest) (fsm.Filter, error) {
	f := fsm.Filter{
		Pool: req.Pool, Client: req.Client, States: req.States,
		Before: fsm.JobID(req.Before), Limit: int(min(req.Limit, maxPage)), Hint: req.CacheHint, Also: alsoOf(req),
	}
	if id.Kind == auth.Submit {
		client, err := id.SubmitsFor(req.Client)
		if err != nil {
			return f, err
		}
		f.Client = client
	}
	if f.Pool != "" {
		return f, id.MayUsePool(f.Pool)
	}
	if len(id.Pools) == 1 {
		f.Pool = id.Pools[0]
	}
	return f, nil
}

// Explain says why a job waits, or where it runs.
func (s *Server) Explain(ctx context.Context, req *pb.ExplainRequest) (*pb.ExplainReply, error) {
	job, err := s.GetJob(ctx, &pb.GetJobRequest{Id: req.Id})
	if err != nil {
		return nil, err
	}
	ahead, why, details, err := s.Leader.Explain(fsm.JobID(req.Id))
	if err != nil {
		return nil, err
	}
	return &pb.ExplainReply{Job: job, Ahead: uint64(ahead), Why: why, Details: details}, nil
}

// Cancel ends a job that waits, and asks for the end of one that runs.
func (s *Server) Cancel(ctx context.Context, req *pb.CancelRequest) (*pb.Job, error) {
	id := auth.From(ctx)
	job, refusal := s.localJob(req.Id)
	if refusal != nil {
		return nil, refusal
	}
	if err := id.MaySee(job); err != nil {
		return nil, err
	}
	_, err := s.Store.Propose(ctx, &pb.Command{
		Actor: id.Actor(),
		Op:    &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: req.Id, Reason: req.Reason}},
	})
	if err != nil {
		return nil, err
	}
	if job, refusal = s.localJob(req.Id); refusal != nil {
		return nil, refusal
	}
	return fsm.JobPB(job, true), nil
}

// localJob finds a job in this node's own state.
func (s *Server) localJob(id uint64) (job *fsm.Job, refusal *fsm.Refusal) {
	var err error
	s.Store.View(func(st *fsm.State) { job, err = st.Job(fsm.JobID(id)) })
	if err != nil {
		refusal, _ = errors.AsType[*fsm.Refusal](err)
	}
	return job, refusal
}
