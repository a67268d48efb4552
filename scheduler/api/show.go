package api

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// How many jobs are listed of a queue or a worker, so that the answer fits into a
// message.
const (
	defaultShown  = 20
	maxShown      = 200
	maxWorkerJobs = 1000
)

// ShowPool says what waits in a pool and why, what its workers do, and how far its
// clients are ahead of their shares.
func (s *Server) ShowPool(ctx context.Context, req *pb.ShowPoolRequest) (*pb.PoolView, error) {
	pool, err := s.GetPool(ctx, &pb.GetPoolRequest{Name: req.Name})
	if err != nil {
		return nil, err
	}
	limit := min(int(req.Limit), maxShown)
	if limit == 0 {
		limit = defaultShown
	}
	view, err := s.Leader.ShowPool(req.Name, limit)
	if err != nil {
		return nil, err
	}
	view.Pool = pool
	return view, nil
}

// ShowWorker says what a worker runs, and what waits for it.
func (s *Server) ShowWorker(ctx context.Context, req *pb.ShowWorkerRequest) (*pb.WorkerView, error) {
	if _, err := s.GetPool(ctx, &pb.GetPoolRequest{Name: req.Pool}); err != nil {
		return nil, err
	}
	limit := min(int(req.Limit), maxWorkerJobs)
	if limit == 0 {
		limit = maxWorkerJobs
	}
	return s.Leader.ShowWorker(req.Pool, req.Name, limit)
}

// evictions is how many jobs are taken off a worker at a time.
const evictions = 64

// EvictJobs takes running jobs off a worker: those that are named, or all.
func (s *Server) EvictJobs(ctx context.Context, req *pb.EvictJobsRequest) (*pb.EvictJobsReply, error) {
	if err := auth.From(ctx).MayUsePool(req.Pool); err != nil {
		return nil, err
	}
	evicted, err := s.evictees(ctx, req)
	if err != nil {
		return nil, err
	}
	why := "an operator took the job off the worker"
	if req.Reason != "" {
		why += ": " + req.Reason
	}
	var g errgroup.Group
	g.SetLimit(evictions)
	done := make([]bool, len(evicted))
	for i, j := range evicted {
		g.Go(func() error {
			expire := &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{
				Lease: uint64(j.Lease), Why: pb.OutcomeKind_OUTCOME_EVICTED, Message: why,
			}}
			r, err := s.propose(ctx, &pb.Command{MinLevel: pauseLevel, Op: expire})
			if r.Refusal != nil && r.Refusal.Kind == fsm.Fenced {
				return nil // it has ended meanwhile
			}
			done[i] = err == nil
			return err
		})
	}
	err = g.Wait()
	reply := &pb.EvictJobsReply{}
	for i, j := range evicted {
		if done[i] {
			reply.Jobs = append(reply.Jobs, uint64(j.ID))
		}
	}
	return reply, err
}

// evictees finds the jobs that are meant; one that the worker does not run is an
// error, and nothing happens.
func (s *Server) evictees(ctx context.Context, req *pb.EvictJobsRequest) (jobs []*fsm.Job, err error) {
	running := map[uint64]*fsm.Job{}
	known := false
	err = s.read(ctx, false, func(st *fsm.State) {
		_, known = st.Worker(req.Pool, req.Worker)
		for j := range st.WorkerLeases(req.Pool, req.Worker) {
			running[uint64(j.ID)] = j
			if len(req.Jobs) == 0 {
				jobs = append(jobs, j)
			}
		}
	})
	if err == nil && !known {
		err = &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("there is no worker %s in pool %s: weir worker list shows those that are", quote(req.Worker), quote(req.Pool))}
	}
	if err != nil {
		return nil, err
	}
	for _, id := range req.Jobs {
		j, ok := running[id]
		if !ok {
			return nil, &fsm.Refusal{Kind: fsm.Refused, Message: fmt.Sprintf("worker %s does not run job %d: weir worker show %s %s lists what it runs", req.Worker, id, req.Pool, req.Worker)}
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}
