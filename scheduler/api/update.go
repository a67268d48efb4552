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
	over, err := s.Leader.Update(req.Pool, req.Name, req.BootId)
	return &pb.UpdateWorkerReply{Over: over}, err
}
