package raftnode

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

func (s *MembershipServer) wrongCluster(theirs string) error {
	own := s.node.cluster()
	return withReason(status.Newf(codes.FailedPrecondition,
		"%s belongs to cluster %s, the caller to cluster %s: correct its --join addresses, or move its data directory away", s.node.self, own, theirs),
		reason.WrongCluster, nil)
}

// toStatus gives each kind of error its code and reason.
func (s *MembershipServer) toStatus(err error) error {
	switch {
	case errors.Is(err, ErrNotLeader):
		leader, _ := s.node.Leader()
		return withReason(status.New(codes.Unavailable, err.Error()), reason.NoLeader, map[string]string{"leader": leader.Address})
	case errors.Is(err, ErrRefused):
		return withReason(status.New(codes.FailedPrecondition, err.Error()), reason.Refused, nil)
	case errors.Is(err, ErrNoMember):
		return withReason(status.New(codes.NotFound, err.Error()), reason.NotFound, nil)
	default:
		return withReason(status.New(codes.Unavailable, err.Error()), reason.UnknownOutcome, nil)
	}
}

func withReason(s *status.Status, why string, more map[string]string) error {
	detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: why, Domain: reason.Domain, Metadata: more})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}

func (m Member) proto() *pb.Member {
	p := &pb.Member{
		NodeId: string(m.ID), Name: m.Name, Address: m.Address, Suffrage: "nonvoter", Leader: m.Leader,
		Health: string(m.Health), LastContactMs: milliseconds(m.Contact), MatchIndex: m.Match,
	}
	if m.Voter {
		p.Suffrage = "voter"
	}
	return p
}

func milliseconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}
