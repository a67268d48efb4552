package api

import (
	"context"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// UpdateWorker passes an order on that only the worker knows how to follow.
func (s *Server) UpdateWorker(ctx context.Context, req *pb.UpdateWorkerRequest) (*pb.UpdateWorkerReply, error) {
	if err := auth.From(ctx).MayUsePool(req.Pool); err != nil {
		return nil, err
	}
	if req.BootId == "" {
		return nil, invalid("update worker %s: the request does not say which of its processes is meant: weir worker update does", quote(req.Name))
	}
	fresh, over, err := s.Leader.Update(req.Pool, req.Name, req.BootId)
	if fresh {
		err = s.recordChange(ctx, &pb.RecordChange{Action: "worker.update", Pool: req.Pool, Target: req.Name})
	}
	return &pb.UpdateWorkerReply{Over: over}, err
}
