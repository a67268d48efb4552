package api

import (
	"context"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

// membership is the Raft node's own service, with what that does not know.
type membership struct {
	pb.MembershipServer
}

// Membership returns the service of a Raft node.
func Membership(n *raftnode.Node) pb.MembershipServer {
	return membership{raftnode.NewMembershipServer(n)}
}

// Status adds what the state of this release understands, and this machine's
// clock.
func (m membership) Status(ctx context.Context, req *pb.StatusRequest) (*pb.NodeStatus, error) {
	status, err := m.MembershipServer.Status(ctx, req)
	if err == nil {
		status.FeatureLevel, status.NowMs = fsm.FeatureLevel, time.Now().UnixMilli()
	}
	return status, err
}
