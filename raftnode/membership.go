package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// MembershipServer serves a node's Membership service. Who may call what is for
// the server's interceptor to decide; only that Hello and Join come from the
// node that they name is checked here.
type MembershipServer struct {
	pb.UnimplementedMembershipServer
	node *Node
}

// NewMembershipServer returns the service of one node.
func NewMembershipServer(n *Node) *MembershipServer { return &MembershipServer{node: n} }

// maxSkew is how far a joining node's clock may be from this one's.
const maxSkew = 30 * time.Second

// Hello says who this node is and what it knows of a cluster.
func (s *MembershipServer) Hello(ctx context.Context, r *pb.HelloRequest) (*pb.HelloReply, error) {
	if err := callerIs(ctx, r.Name); err != nil {
		return nil, err
	}
	now := time.Now()
	if skew := now.Sub(time.UnixMilli(r.NowMs)).Abs(); skew > maxSkew {
		return nil, status.Errorf(codes.FailedPrecondition, "the clocks of %s and %s differ by %v: set them right", r.Name, s.node.self.Name, skew.Round(time.Second))
	}
	st := s.node.Status()
	if r.ClusterId != "" && st.ClusterID != "" && r.ClusterId != string(st.ClusterID) {
		return nil, s.wrongCluster(r.ClusterId)
	}
	return &pb.HelloReply{
		NodeId: string(st.Self.ID), Name: st.Self.Name, Address: st.Self.Address, ClusterId: string(st.ClusterID),
		LeaderAddress: st.Leader.Address, LeaderName: st.Leader.Name, NowMs: now.UnixMilli(),
		BootstrapExpect: uint32(s.node.config.BootstrapExpect), Says: says(st),
		Timings: s.node.profiles.own.proto(),
	}, nil
}

// says is a node's state in one line, for people. What others said to it is left
// out: they are asked too.
func says(s Status) string {
	switch {
	case s.ClusterID == "":
		return "I am empty and wait for a cluster"
	case s.Ready:
		return fmt.Sprintf("I am %s of cluster %s, led by %s", s.State, s.ClusterID, s.Leader.Name)
	case s.State == "joining" || s.State == "waiting":
		return fmt.Sprintf("I am empty and joining cluster %s", s.ClusterID)
	default:
		return fmt.Sprintf("I am %s of cluster %s and not ready: %s", s.State, s.ClusterID, s.Why)
	}
}

// Join makes the caller a member, step by step: it calls until it is one.
func (s *MembershipServer) Join(ctx context.Context, r *pb.JoinRequest) (*pb.JoinReply, error) {
	if err := callerIs(ctx, r.Name); err != nil {
		return nil, err
	}
	if err := s.sameCluster(ctx); err != nil {
		return nil, err
	}
	if err := checkHostPort(r.Address); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	st := s.node.Status()
	reply := &pb.JoinReply{ClusterId: string(st.ClusterID), LeaderAddress: st.Leader.Address}
	if st.InOffice {
		if err := s.node.mayJoin(NodeID(r.NodeId), r.Name, timingsOf(r.Timings)); err != nil {
			reply.Why = err.Error()
			return reply, nil // an answer like the others: it asks four times a second
		}
	}
	voter, err := s.node.admit(ctx, Peer{ID: NodeID(r.NodeId), Name: r.Name, Address: r.Address})
	switch {
	case errors.Is(err, ErrNotLeader) && st.Leader.ID == "":
		reply.Why = "no leader: " + says(st)
	case errors.Is(err, ErrNotLeader):
		reply.Why = fmt.Sprintf("ask the leader, %s", st.Leader)
	case err != nil:
		reply.Why = err.Error()
	case !voter:
		reply.Why = "you are a member and receive the log"
	}
	reply.Added = voter
	return reply, nil
}

// Status describes the node.
func (s *MembershipServer) Status(context.Context, *pb.StatusRequest) (*pb.NodeStatus, error) {
	st := s.node.Status()
	reply := &pb.NodeStatus{
		NodeId: string(st.Self.ID), Name: st.Self.Name, Address: st.Self.Address, ClusterId: string(st.ClusterID),
		State: st.State, Term: st.Term, LeaderName: st.Leader.Name, LeaderAddress: st.Leader.Address,
		LastIndex: st.LastIndex, AppliedIndex: st.Applied, CommitIndex: st.Commit, LastContactMs: milliseconds(st.LastContact),
		Ready: st.Ready, Why: st.Why, Disk: st.Disk, Warning: st.Warning, Version: s.node.config.Version,
	}
	for _, m := range st.Members {
		reply.Members = append(reply.Members, m.proto())
	}
	return reply, nil
}

// ListMembers lists the configuration: as the leader has it, or with stale as
// this node does.
func (s *MembershipServer) ListMembers(ctx context.Context, r *pb.ListMembersRequest) (*pb.ListMembersReply, error) {
	if !r.Stale {
		if err := s.node.Verify(ctx); err != nil {
			return nil, s.toStatus(err)
		}
	}
	st := s.node.Status()
	reply := &pb.ListMembersReply{ClusterId: string(st.ClusterID), Term: st.Term}
	for _, m := range st.Members {
		reply.Members = append(reply.Members, m.proto())
	}
	return reply, nil
}

// AddMember adds a member as a non-voter, or makes it a voter, which a member
// becomes once it has caught up.
func (s *MembershipServer) AddMember(ctx context.Context, r *pb.AddMemberRequest) (*pb.AddMemberReply, error) {
	p := Peer{ID: NodeID(r.NodeId), Name: r.Name, Address: r.Address}
	switch {
	case p.ID == "":
		return nil, status.Error(codes.InvalidArgument, "a member needs its node id, as the node itself reports it")
	case !validName.MatchString(p.Name):
		return nil, status.Errorf(codes.InvalidArgument, "a member needs the name that the node itself has, and %q is none", p.Name)
	}
	if err := checkHostPort(p.Address); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	m, err := s.node.find(r.NodeId)
	if err != nil || m.Peer != p {
		if err := s.node.AddNonvoter(ctx, p); err != nil {
			return nil, s.toStatus(err)
		}
	}
	if r.Voter {
		if err := s.promote(ctx, p.ID); err != nil {
			return nil, s.toStatus(err)
		}
	}
	if m, err = s.node.find(r.NodeId); err != nil {
		return nil, s.toStatus(err)
	}
	return &pb.AddMemberReply{Member: m.proto()}, nil
}

// promote tries until the member has caught up or ctx ends.
func (s *MembershipServer) promote(ctx context.Context, id NodeID) error {
	for {
		err := s.node.Promote(ctx, id)
		if !errors.Is(err, ErrRefused) {
			return err
		}
		select {
		case <-time.After(announceEvery):
		case <-ctx.Done():
			return fmt.Errorf("the member is added and does not vote yet: %w", err)
		}
	}
}

// RemoveMember takes a member out.
func (s *MembershipServer) RemoveMember(ctx context.Context, r *pb.RemoveMemberRequest) (*pb.RemoveMemberReply, error) {
	if err := s.node.Remove(ctx, r.Member, r.Force); err != nil {
		return nil, s.toStatus(err)
	}
	return &pb.RemoveMemberReply{}, nil
}

// TransferLeadership hands the office over and names the new leader.
func (s *MembershipServer) TransferLeadership(ctx context.Context, r *pb.TransferLeadershipRequest) (*pb.TransferLeadershipReply, error) {
	if err := s.node.Transfer(ctx, r.To); err != nil {
		return nil, s.toStatus(err)
	}
	for {
		if leader, ok := s.node.Leader(); ok && (r.To != "" || leader.ID != s.node.self.ID) {
			return &pb.TransferLeadershipReply{Leader: leader.Name}, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// callerIs compares the name in a request with the caller's certificate.
func callerIs(ctx context.Context, name string) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return status.Error(codes.Unauthenticated, errNotANode.Error())
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || !mtls.IsNode(info.State.PeerCertificates[0]) {
		return status.Error(codes.Unauthenticated, errNotANode.Error())
	}
	if own := mtls.NodeName(info.State.PeerCertificates[0]); own != name {
		return status.Errorf(codes.PermissionDenied, "the certificate is for node %q, the caller says that it is %q: start it with --name %s, or give it a certificate of its own", own, name, own)
	}
	return nil
}

// sameCluster refuses a caller that names another cluster.
func (s *MembershipServer) sameCluster(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, theirs := range md.Get(reason.MetaClusterID) {
		if theirs != string(s.node.cluster()) {
			return s.wrongCluster(theirs)
		}
	}
	return nil
}
