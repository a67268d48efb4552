package scheduler

import (
	"context"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

const (
	levelsEvery   = 5 * time.Second
	levelsTimeout = 2 * time.Second
)

// raiseLevel raises the cluster's feature level to this node's, once every member
// has said that it understands it, while this node leads. From then on an older
// program stops when it is to follow this cluster's log, and says so.
func (s *Server) raiseLevel(office context.Context) error {
	ticker := time.NewTicker(levelsEvery)
	defer ticker.Stop()
	for {
		level := uint32(0)
		s.store.View(func(st *fsm.State) { level = st.FeatureLevel() })
		if level >= fsm.FeatureLevel {
			return nil
		}
		if s.allUnderstand(office, fsm.FeatureLevel) {
			_, err := s.store.Propose(office, &pb.Command{
				Actor: &pb.Actor{Capability: "node:" + s.cfg.Name, From: s.cfg.advertised()},
				Op:    &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: fsm.FeatureLevel}},
			})
			if err == nil {
				s.log.Info("every member understands the new feature level", "level", fsm.FeatureLevel, "was", level)
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-office.Done():
			return nil
		}
	}
}

// allUnderstand asks every member, voter or not. One that does not answer does not
// understand.
func (s *Server) allUnderstand(ctx context.Context, level uint32) bool {
	ctx, cancel := context.WithTimeout(ctx, levelsTimeout)
	defer cancel()
	members := s.peers.Members()
	for _, m := range members {
		if m.Name == s.cfg.Name {
			continue
		}
		conn, err := s.peers.Conn(m.Address)
		if err != nil {
			return false
		}
		status, err := pb.NewMembershipClient(conn).Status(ctx, &pb.StatusRequest{})
		if err != nil || status.NodeId != string(m.ID) || status.FeatureLevel < level {
			return false
		}
	}
	return len(members) > 0
}
