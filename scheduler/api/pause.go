package api

import (
	"context"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// pauseLevel is the feature level from which workers and pools can be paused, and
// jobs be evicted.
const pauseLevel = 3

// createWorkerLevel is the feature level from which a pause may wait for a worker
// that has never connected.
const createWorkerLevel = 4

// PauseWorkers keeps new jobs from the workers that are named, or from all of the
// pool that are registered, or ends that.
func (s *Server) PauseWorkers(ctx context.Context, req *pb.PauseWorkersRequest) (*pb.PauseWorkersReply, error) {
	if err := auth.From(ctx).MayUsePool(req.Pool); err != nil {
		return nil, err
	}
	names := req.Names
	switch {
	case req.All && len(names) > 0:
		return nil, invalid("workers are named and all are asked for: choose one")
	case req.All:
		var err error
		if names, err = s.workersOf(ctx, req.Pool); err != nil || len(names) == 0 {
			return &pb.PauseWorkersReply{}, err
		}
	}
	level := uint32(pauseLevel)
	if req.Create {
		level = createWorkerLevel
	}
	pause := &pb.Command_PauseWorkers{PauseWorkers: &pb.PauseWorkers{
		Pool: req.Pool, Names: names, Resume: req.Resume, Reason: req.Reason, Create: req.Create,
	}}
	if _, err := s.propose(ctx, &pb.Command{MinLevel: level, Op: pause}); err != nil {
		return nil, err
	}
	return &pb.PauseWorkersReply{Workers: names}, nil
}

// workersOf names the workers that are registered in a pool.
func (s *Server) workersOf(ctx context.Context, pool string) (names []string, err error) {
	if _, err := s.localPool(pool); err != nil {
		return nil, err
	}
	err = s.read(ctx, false, func(st *fsm.State) {
		for w := range st.Workers(pool) {
			names = append(names, w.Name)
		}
	})
	return names, err
}

// PausePool keeps every job of a pool from starting, or ends that.
func (s *Server) PausePool(ctx context.Context, req *pb.PausePoolRequest) (*pb.Pool, error) {
	if err := auth.From(ctx).MayUsePool(req.Name); err != nil {
		return nil, err
	}
	pause := &pb.Command_PausePool{PausePool: &pb.PausePool{Name: req.Name, Resume: req.Resume, Reason: req.Reason}}
	if _, err := s.propose(ctx, &pb.Command{MinLevel: pauseLevel, Op: pause}); err != nil {
		return nil, err
	}
	return s.localPool(req.Name)
}
