package api

import (
	"context"
	"strings"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
)

// Certificate is what the node knows of the end of its certificate.
type Certificate func() (expires time.Time, warning string)

// membership is the Raft node's own service, with what that does not know.
type membership struct {
	pb.MembershipServer
	certificate Certificate
	record      func(context.Context, *pb.RecordChange) error
}

// Membership returns the service of a Raft node.
func Membership(n *raftnode.Node, c Certificate) pb.MembershipServer {
	return &membership{MembershipServer: raftnode.NewMembershipServer(n), certificate: c}
}

// Status adds what the state of this release understands, this machine's clock,
// and until when the node's certificate is good.
func (m *membership) Status(ctx context.Context, req *pb.StatusRequest) (*pb.NodeStatus, error) {
	status, err := m.MembershipServer.Status(ctx, req)
	if err == nil {
		status.FeatureLevel, status.NowMs = fsm.FeatureLevel, time.Now().UnixMilli()
		expires, warning := m.certificate()
		status.CertificateExpiresMs = expires.UnixMilli()
		status.Warning = strings.Trim(status.Warning+"; "+warning, "; ")
	}
	return status, err
}

func (m *membership) AddMember(ctx context.Context, req *pb.AddMemberRequest) (*pb.AddMemberReply, error) {
	if err := auth.From(ctx).MayRunCluster(); err != nil {
		return nil, err
	}
	reply, err := m.MembershipServer.AddMember(ctx, req)
	if err == nil && m.record != nil {
		err = m.record(ctx, &pb.RecordChange{Action: "member.add", Target: req.Name, Detail: "address=" + req.Address})
	}
	return reply, err
}

func (m *membership) RemoveMember(ctx context.Context, req *pb.RemoveMemberRequest) (*pb.RemoveMemberReply, error) {
	if err := auth.From(ctx).MayRunCluster(); err != nil {
		return nil, err
	}
	reply, err := m.MembershipServer.RemoveMember(ctx, req)
	if err == nil && m.record != nil {
		change := &pb.RecordChange{Action: "member.remove", Target: req.Member}
		if req.Force {
			change.Detail = "forced"
		}
		err = m.record(ctx, change)
	}
	return reply, err
}

func (m *membership) TransferLeadership(ctx context.Context, req *pb.TransferLeadershipRequest) (*pb.TransferLeadershipReply, error) {
	if err := auth.From(ctx).MayRunCluster(); err != nil {
		return nil, err
	}
	if m.record != nil { // before this node leads no more
		if err := m.record(ctx, &pb.RecordChange{Action: "leadership.transfer", Target: req.To, Detail: "asked for"}); err != nil {
			return nil, err
		}
	}
	return m.MembershipServer.TransferLeadership(ctx, req)
}
