package api

import (
	"context"
	"fmt"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

// nodeService is what nodes ask each other beside membership.
type nodeService struct {
	Logs
	server *Server
}

// WorkerPage implements pb.NodeServiceServer.
func (n nodeService) WorkerPage(ctx context.Context, req *pb.WorkerPageRequest) (*pb.WorkerPageReply, error) {
	text, err := n.server.Leader.Page(ctx, req.Pool, req.Worker, req.Page)
	return &pb.WorkerPageReply{Gzip: text}, err
}

// Page fetches a page of a worker's metrics, gzipped, from whichever node leads.
func (s *Server) Page(ctx context.Context, pool, worker, page string) ([]byte, error) {
	if s.Forwarder.Leads() {
		return s.Leader.Page(ctx, pool, worker, page)
	}
	leader, ok := s.Forwarder.Leader()
	if !ok || leader.Name == s.Name {
		return nil, raftnode.ErrNotLeader
	}
	conn, err := s.Forwarder.Peers.Conn(string(leader.ID))
	if err != nil {
		return nil, err
	}
	reply, err := pb.NewNodeServiceClient(conn).WorkerPage(ctx, &pb.WorkerPageRequest{Pool: pool, Worker: worker, Page: page})
	if err != nil {
		return nil, fmt.Errorf("ask the leader, node %s: %w", leader.Name, err)
	}
	return reply.Gzip, nil
}
