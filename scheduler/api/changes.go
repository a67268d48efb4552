package api

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// auditLevel is the feature level from which the cluster keeps an audit.
const auditLevel = 4

const defaultChanges = 100

// ListChanges lists who changed what, oldest first. A capability for some pools
// sees the changes of those.
func (s *Server) ListChanges(ctx context.Context, req *pb.ListChangesRequest) (*pb.ListChangesReply, error) {
	id := auth.From(ctx)
	limit := int(min(req.Limit, maxPage))
	if limit == 0 {
		limit = defaultChanges
	}
	reply := &pb.ListChangesReply{}
	size := 0
	err := s.read(ctx, req.Stale, func(st *fsm.State) {
		reply.Forgotten = st.ForgottenChanges()
		list := st.Changes(req.After)
		if req.Last {
			list = st.LastChanges()
		}
		for c := range list {
			if req.Last && (c.Number <= req.After || c.AtMs < req.SinceMs) {
				break
			}
			if c.AtMs < req.SinceMs || !id.SeesChange(c.Pool) {
				continue
			}
			if size += proto.Size(c); len(reply.Changes) == limit || size > maxPageBytes {
				if !req.Last {
					reply.NextAfter = reply.Changes[len(reply.Changes)-1].Number
				}
				break
			}
			reply.Changes = append(reply.Changes, c)
		}
	})
	if req.Last {
		slices.Reverse(reply.Changes)
	}
	return reply, err
}

// recordChange puts a change into the audit that no command makes. It has
// happened: that it could not be recorded is the caller's to tell.
func (s *Server) recordChange(ctx context.Context, c *pb.RecordChange) error {
	level := uint32(0)
	s.Store.View(func(st *fsm.State) { level = st.FeatureLevel() })
	if level < auditLevel {
		return nil
	}
	_, err := s.propose(ctx, &pb.Command{MinLevel: auditLevel, Op: &pb.Command_RecordChange{RecordChange: c}})
	return err
}
