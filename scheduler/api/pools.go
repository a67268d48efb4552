package api

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/proto/seal"
	"github.com/weirbuild/weir/scheduler/auth"
	"github.com/weirbuild/weir/scheduler/lead"
)

// CreatePool makes a pool, and its first worker capability when the request
// brings the hash of its token.
func (s *Server) CreatePool(ctx context.Context, req *pb.CreatePoolRequest) (*pb.CreatePoolReply, error) {
	id := auth.From(ctx)
	if err := id.MayUsePool(req.Name); err != nil {
		return nil, err
	}
	if err := s.checkSideToken(id, req.WorkerTokenSha256); err != nil {
		return nil, err
	}
	if err := checkRecipient(req.Config); err != nil {
		return nil, err
	}
	create := &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: req.Name, Config: learning(req.Config)}}
	if _, err := s.propose(ctx, &pb.Command{MinLevel: createLevel(req.Config), Op: create}); err != nil {
		return nil, err
	}
	reply := &pb.CreatePoolReply{}
	var err error
	if reply.Pool, err = s.localPool(req.Name); err != nil || len(req.WorkerTokenSha256) == 0 {
		return reply, err
	}
	reply.Worker, err = s.newCapability(ctx, req.WorkerTokenSha256, &pb.Capability{
		Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{req.Name}, Note: "first of the pool",
	}, false)
	if err != nil {
		return nil, fmt.Errorf("pool %s was created, its worker capability was not (make one with weir cap create): %w", req.Name, err)
	}
	return reply, nil
}

// updateTries is how often a change of a pool is made anew when another one came
// between.
const updateTries = 10

// updateLevel is the feature level from which a change of a pool says what it was
// made of.
const updateLevel = 3

// UpdatePool changes what the request sets or resets of a pool's configuration.
// Of changes that are made at the same time none is lost.
func (s *Server) UpdatePool(ctx context.Context, req *pb.UpdatePoolRequest) (*pb.Pool, error) {
	if err := auth.From(ctx).MayUsePool(req.Name); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		old, err := s.localPool(req.Name)
		if err != nil {
			return nil, err
		}
		config, err := changed(old.Config, req)
		if err == nil {
			err = checkRecipient(config)
		}
		if err != nil {
			return nil, err
		}
		update := &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: req.Name, Config: learning(config), Base: old.Config}}
		_, err = s.propose(ctx, &pb.Command{MinLevel: max(updateLevel, createLevel(config)), Op: update})
		switch {
		case err == nil:
			return s.localPool(req.Name)
		case try == updateTries || reasonFor(err) != reason.Conflict:
			return nil, err
		}
	}
}

// changed returns a pool's configuration with what the request resets and sets.
func changed(old *pb.PoolConfig, req *pb.UpdatePoolRequest) (*pb.PoolConfig, error) {
	config := &pb.PoolConfig{}
	proto.Merge(config, old)
	if err := resetFields(config, req); err != nil {
		return nil, err
	}
	proto.Merge(config, req.Config)
	return config, nil
}

func createLevel(config *pb.PoolConfig) uint32 {
	switch {
	case config.GetMaxRunning() != 0, config.GetMaxRunningPerClient() != 0, config.GetWideAfterMs() != 0:
		return permitLevel
	case config.GetWaitLimitMs() != 0, config.GetMaxUrgentPerHour() != 0:
		return patienceLevel
	case config.GetRecipient() != "":
		return max(learningLevel, sealedLevel)
	}
	return learningLevel
}

// checkRecipient refuses what no client could seal to.
func checkRecipient(config *pb.PoolConfig) error {
	if r := config.GetRecipient(); r != "" {
		if err := seal.CheckRecipient(r); err != nil {
			return invalid("%v", err)
		}
	}
	return nil
}

// learningLevel is the feature level from which pools can learn.
const learningLevel = 2

// learning spells out defaults that must not change what older log entries mean: a
// pool learns, and its idle workers steal, unless it is told not to.
func learning(config *pb.PoolConfig) *pb.PoolConfig {
	spelled := &pb.PoolConfig{}
	proto.Merge(spelled, config)
	if spelled.Learn == pb.Switch_SWITCH_UNSPECIFIED {
		spelled.Learn = pb.Switch_SWITCH_ON
	}
	if spelled.Steal == pb.Switch_SWITCH_UNSPECIFIED {
		spelled.Steal = pb.Switch_SWITCH_ON
	}
	return spelled
}

// resetFields clears what the request resets: a setting that is zero has its
// default.
func resetFields(config *pb.PoolConfig, req *pb.UpdatePoolRequest) error {
	r := config.ProtoReflect()
	for _, name := range req.ToDefault {
		f := r.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case f == nil:
			return invalid("a pool has no setting %s that could be reset: use the names of PoolConfig's fields", quote(name))
		case req.Config.ProtoReflect().Has(f):
			return invalid("setting %s is both set and reset: choose one", name)
		}
		r.Clear(f)
	}
	return nil
}

// DeletePool forgets a pool that has no jobs to run.
func (s *Server) DeletePool(ctx context.Context, req *pb.DeletePoolRequest) (*pb.DeletePoolReply, error) {
	if err := auth.From(ctx).MayUsePool(req.Name); err != nil {
		return nil, err
	}
	remove := &pb.Command_DeletePool{DeletePool: &pb.DeletePool{Name: req.Name}}
	if _, err := s.propose(ctx, &pb.Command{Op: remove}); err != nil {
		return nil, err
	}
	return &pb.DeletePoolReply{}, nil
}

// ListPools returns the pools that the caller may use.
func (s *Server) ListPools(ctx context.Context, req *pb.ListPoolsRequest) (*pb.ListPoolsReply, error) {
	id := auth.From(ctx)
	reply := &pb.ListPoolsReply{}
	err := s.read(ctx, req.Stale, func(st *fsm.State) {
		for p := range st.Pools() {
			if id.InPool(p.Name) {
				reply.Pools = append(reply.Pools, s.showPool(p))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for _, p := range reply.Pools {
		s.addLive(p)
	}
	return reply, nil
}

// GetPool returns one pool.
func (s *Server) GetPool(ctx context.Context, req *pb.GetPoolRequest) (*pb.Pool, error) {
	if err := auth.From(ctx).MayUsePool(req.Name); err != nil {
		return nil, err
	}
	if !req.Stale {
		if err := s.Store.Read(ctx, func(*fsm.State) {}); err != nil {
			return nil, err
		}
	}
	return s.localPool(req.Name)
}

func (s *Server) localPool(name string) (*pb.Pool, error) {
	var pool *pb.Pool
	s.Store.View(func(st *fsm.State) {
		if p, ok := st.Pool(name); ok {
			pool = s.showPool(p)
		}
	})
	if pool == nil {
		return nil, &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("there is no pool %s: weir pool list shows those that are", quote(name))}
	}
	s.addLive(pool)
	return pool, nil
}

// showPool shows a pool with the settings that apply.
func (s *Server) showPool(p *fsm.Pool) *pb.Pool {
	shown := fsm.PoolPB(p)
	shown.Effective = p.Limits().Config()
	shown.Effective.Recipient = p.Config.GetRecipient()
	if shown.Effective.LeaseTtlMs == 0 {
		shown.Effective.LeaseTtlMs = s.LeaseTTL.Milliseconds()
	}
	return shown
}

// addLive fills in what only the leader knows of a pool's workers.
func (s *Server) addLive(p *pb.Pool) {
	if !s.Forwarder.Leads() {
		return
	}
	ready := map[string]bool{}
	for _, w := range s.Leader.Workers(p.Name) {
		if w.Connected {
			p.WorkersConnected++
			ready[w.Name] = w.State == "ready"
		}
	}
	s.Store.View(func(st *fsm.State) {
		for w := range st.Workers(p.Name) {
			if ready[w.Name] {
				p.FreeSlots += int64(w.Free())
			}
		}
	})
}

// ListWorkers returns the workers of one pool, or of all.
func (s *Server) ListWorkers(ctx context.Context, req *pb.ListWorkersRequest) (*pb.ListWorkersReply, error) {
	id := auth.From(ctx)
	if req.Pool != "" {
		if err := id.MayUsePool(req.Pool); err != nil {
			return nil, err
		}
		if _, err := s.GetPool(ctx, &pb.GetPoolRequest{Name: req.Pool, Stale: req.Stale}); err != nil {
			return nil, err
		}
	}
	var known []*pb.Worker
	err := s.read(ctx, req.Stale, func(st *fsm.State) {
		for w := range st.Workers(req.Pool) {
			known = append(known, fsm.WorkerPB(w))
		}
	})
	if err != nil {
		return nil, err
	}
	if s.Forwarder.Leads() {
		known = s.Leader.Workers(req.Pool)
	}
	reply := &pb.ListWorkersReply{}
	for _, w := range known {
		if id.InPool(w.Pool) {
			reply.Workers = append(reply.Workers, w)
		}
	}
	return reply, nil
}

// ForgetWorker frees a worker's name for another instance key. A worker that is
// heard would only come again, without its cache hints: that is refused.
func (s *Server) ForgetWorker(ctx context.Context, req *pb.ForgetWorkerRequest) (*pb.ForgetWorkerReply, error) {
	if err := auth.From(ctx).MayUsePool(req.Pool); err != nil {
		return nil, err
	}
	for _, w := range s.Leader.Workers(req.Pool) {
		if w.Name == req.Name && w.Connected && w.State != lead.Silent {
			return nil, &fsm.Refusal{Kind: fsm.Refused, Message: fmt.Sprintf(
				"worker %s of pool %s is connected and would register again: stop it first (SIGTERM drains it), then forget it", w.Name, w.Pool)}
		}
	}
	forget := &pb.Command_ForgetWorker{ForgetWorker: &pb.ForgetWorker{Pool: req.Pool, Name: req.Name}}
	if _, err := s.propose(ctx, &pb.Command{Op: forget}); err != nil {
		return nil, err
	}
	return &pb.ForgetWorkerReply{}, nil
}

// propose commits a command on behalf of the caller.
func (s *Server) propose(ctx context.Context, c *pb.Command) (fsm.Result, error) {
	c.Actor = auth.From(ctx).Actor()
	return s.Store.Propose(ctx, c)
}
