package api

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// AdminInit makes the cluster's first admin capability.
func (s *Server) AdminInit(ctx context.Context, req *pb.AdminInitRequest) (*pb.NewCapability, error) {
	if err := checkToken(req.TokenSha256); err != nil {
		return nil, err
	}
	return s.newCapability(ctx, req.TokenSha256, &pb.Capability{
		Kind: pb.CapabilityKind_CAPABILITY_ADMIN, Note: "first of the cluster",
	}, true)
}

// AddClient makes a client, and its first submit capability when the request
// brings the hash of its token.
func (s *Server) AddClient(ctx context.Context, req *pb.AddClientRequest) (*pb.NewCapability, error) {
	if err := auth.From(ctx).MayRunCluster(); err != nil {
		return nil, err
	}
	if err := s.checkSideToken(auth.From(ctx), req.TokenSha256); err != nil {
		return nil, err
	}
	if err := s.checkPools(req.Pools); err != nil {
		return nil, err
	}
	rate := 1.0
	if req.Rate != nil {
		rate = *req.Rate
	}
	if err := fsm.ValidateRate(rate); err != nil { // the state takes 0 for 1
		return nil, &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf("add client %q: %v", req.Name, err)}
	}
	if len(req.Pools) > 0 && len(req.TokenSha256) == 0 {
		return nil, &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf("add client %q: pools limit a capability, and it is to get none; name them when you make it one (weir cap create submit)", req.Name)}
	}
	add := &pb.Command_AddClient{AddClient: &pb.AddClient{Name: req.Name, Rate: rate}}
	if _, err := s.propose(ctx, &pb.Command{Op: add}); err != nil {
		return nil, err
	}
	if len(req.TokenSha256) == 0 {
		return &pb.NewCapability{Addresses: s.addresses(), CaPins: s.Pins()}, nil
	}
	made, err := s.newCapability(ctx, req.TokenSha256, &pb.Capability{
		Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: req.Name, Pools: req.Pools, Note: "first of the client",
	}, false)
	if err != nil {
		return nil, fmt.Errorf("client %s was added, its capability was not made (make one with weir cap create): %w", req.Name, err)
	}
	return made, nil
}

// RemoveClient forgets a client and revokes its capabilities.
func (s *Server) RemoveClient(ctx context.Context, req *pb.RemoveClientRequest) (*pb.RemoveClientReply, error) {
	remove := &pb.Command_RemoveClient{RemoveClient: &pb.RemoveClient{Name: req.Name}}
	result, err := s.propose(ctx, &pb.Command{Op: remove})
	if err != nil {
		return nil, err
	}
	reply := &pb.RemoveClientReply{}
	for _, e := range result.Events {
		if e.Kind == fsm.CapabilityRevoked {
			reply.Revoked = append(reply.Revoked, e.Capability)
		}
	}
	return reply, nil
}

// SetClientRate changes what a client's jobs to come cost its share.
func (s *Server) SetClientRate(ctx context.Context, req *pb.SetClientRateRequest) (*pb.Client, error) {
	if err := auth.From(ctx).MayRunCluster(); err != nil {
		return nil, err
	}
	set := &pb.Command_SetClientRate{SetClientRate: &pb.SetClientRate{Name: req.Name, Rate: req.Rate}}
	if _, err := s.propose(ctx, &pb.Command{Op: set}); err != nil {
		return nil, err
	}
	return &pb.Client{Name: req.Name, Rate: req.Rate}, nil
}

// SetClientLimit changes how many of a client's jobs may run at once in each pool.
func (s *Server) SetClientLimit(ctx context.Context, req *pb.SetClientLimitRequest) (*pb.Client, error) {
	if err := auth.From(ctx).MayRunCluster(); err != nil {
		return nil, err
	}
	set := &pb.Command_SetClientLimit{SetClientLimit: &pb.SetClientLimit{Name: req.Name, MaxRunning: req.MaxRunning}}
	if _, err := s.propose(ctx, &pb.Command{MinLevel: permitLevel, Op: set}); err != nil {
		return nil, err
	}
	return &pb.Client{Name: req.Name, MaxRunning: req.MaxRunning}, nil
}

// ListClients returns every client.
func (s *Server) ListClients(ctx context.Context, req *pb.ListClientsRequest) (*pb.ListClientsReply, error) {
	reply := &pb.ListClientsReply{}
	err := s.read(ctx, req.Stale, func(st *fsm.State) {
		for c := range st.Clients() {
			reply.Clients = append(reply.Clients, fsm.ClientPB(c))
		}
	})
	return reply, err
}

// CreateCapability makes a capability of any kind.
func (s *Server) CreateCapability(ctx context.Context, req *pb.CreateCapabilityRequest) (*pb.NewCapability, error) {
	if err := checkToken(req.TokenSha256); err != nil {
		return nil, err
	}
	return s.newCapability(ctx, req.TokenSha256, &pb.Capability{
		Kind: req.Kind, Client: req.Client, Pools: req.Pools, Note: req.Note,
	}, false)
}

// ListCapabilities returns the capabilities, the revoked ones too if asked.
func (s *Server) ListCapabilities(ctx context.Context, req *pb.ListCapabilitiesRequest) (*pb.ListCapabilitiesReply, error) {
	reply := &pb.ListCapabilitiesReply{}
	err := s.read(ctx, req.Stale, func(st *fsm.State) {
		for c := range st.Capabilities() {
			if c.Revoked == 0 || req.Revoked {
				reply.Capabilities = append(reply.Capabilities, fsm.CapabilityPB(c))
			}
		}
	})
	return reply, err
}

// RevokeCapability ends a capability and, within a second, every stream that
// was opened with it.
func (s *Server) RevokeCapability(ctx context.Context, req *pb.RevokeCapabilityRequest) (*pb.RevokeCapabilityReply, error) {
	revoke := &pb.Command_RevokeCapability{RevokeCapability: &pb.RevokeCapability{Id: req.Id}}
	if _, err := s.propose(ctx, &pb.Command{Op: revoke}); err != nil {
		return nil, err
	}
	c, err := s.localCapability(req.Id)
	return &pb.RevokeCapabilityReply{Capability: c}, err
}

// newCapability makes a capability and returns all of it but the secret.
func (s *Server) newCapability(ctx context.Context, token []byte, c *pb.Capability, firstAdmin bool) (*pb.NewCapability, error) {
	create := &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{
		Capability: c, TokenSha256: token, FirstAdmin: firstAdmin,
	}}
	result, err := s.propose(ctx, &pb.Command{Op: create})
	if err != nil {
		return nil, err
	}
	made, err := s.localCapability(result.ID)
	if err != nil {
		return nil, err
	}
	return &pb.NewCapability{Capability: made, Addresses: s.addresses(), CaPins: s.Pins()}, nil
}

func (s *Server) localCapability(id string) (*pb.Capability, error) {
	var found *pb.Capability
	s.Store.View(func(st *fsm.State) {
		if c, ok := st.Capability(id); ok {
			found = fsm.CapabilityPB(c)
		}
	})
	if found == nil {
		return nil, &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("there is no capability %s: weir cap list shows those that are", quote(id))}
	}
	return found, nil
}

// checkSideToken checks the hash of a token that rides along with another
// request, if there is one.
func (s *Server) checkSideToken(id auth.Identity, token []byte) error {
	if len(token) == 0 {
		return nil
	}
	if err := id.MayMakeCapabilities(); err != nil {
		return err
	}
	return checkToken(token)
}

// checkPools refuses pools that do not exist, before anything is made for them.
func (s *Server) checkPools(names []string) error {
	for _, name := range names {
		if _, err := s.localPool(name); err != nil {
			return err
		}
	}
	return nil
}

func checkToken(hash []byte) error {
	if len(hash) != sha256.Size {
		return invalid("the token's SHA-256 is %d bytes, want %d", len(hash), sha256.Size)
	}
	return nil
}
