package api

import (
	"google.golang.org/grpc"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
)

// ReadLog sends a log from whichever node stores it. A node that has not heard
// of the job, or of the caller's capability, yet asks the leader.
func (s *Server) ReadLog(req *pb.ReadLogRequest, stream grpc.ServerStreamingServer[pb.LogData]) error {
	ctx := stream.Context()
	id := auth.From(ctx)
	job, refusal := s.localJob(req.Job)
	behind := id.Kind == auth.Unverified || refusal != nil && refusal.Kind == fsm.NotFound
	if behind && !auth.Forwarded(ctx) && id.Kind != auth.Node {
		to, err := s.Forwarder.awaitLeader(ctx)
		if err != nil {
			return err
		}
		if !to.here() {
			name := pb.JobService_ReadLog_FullMethodName
			return s.Forwarder.pass(stream, to, s.Forwarder.outgoing(ctx), name, methods[name], req)
		}
		// This node has just become the leader: it knows all by now.
		if ctx, err = s.Guard.Confirm(ctx, pb.JobService_ReadLog_FullMethodName); err != nil {
			return err
		}
		id = auth.From(ctx)
		job, refusal = s.localJob(req.Job)
	}
	if id.Kind == auth.Unverified {
		return raftnode.ErrNotLeader
	}
	if refusal != nil {
		return refusal
	}
	if err := id.MaySee(job); err != nil {
		return err
	}
	if id.Kind != auth.Node { // only nodes may say how far a read may go
		req.Local, req.PassedOn = false, false
	}
	return s.Logs.Read(ctx, req, stream.Send)
}
