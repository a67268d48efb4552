package fsmtest

import (
	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func (g *Generator) register(*fsm.State) *pb.Command {
	var labels []*pb.Label
	if g.chance(2) {
		labels = g.labels()
	}
	c := RegisterWorker(g.poolName(), g.workerName(), uint32(g.r.IntN(5)), labels...)
	op := c.GetRegisterWorker()
	if g.chance(6) {
		op.KeySha256 = Sum(g.name("key", 2))
	}
	op.Replace = g.chance(3)
	if g.chance(3) {
		op.Capability = g.name("cap-", 3)
	}
	return c
}

func (g *Generator) forget(*fsm.State) *pb.Command {
	return &pb.Command{Op: &pb.Command_ForgetWorker{ForgetWorker: &pb.ForgetWorker{Pool: g.poolName(), Name: g.workerName()}}}
}

func (g *Generator) config() *pb.PoolConfig {
	recipient := ""
	if g.chance(3) {
		recipient = g.name("age1", 3)
	}
	return &pb.PoolConfig{
		Recipient: recipient,
		Attempts:  uint32(g.r.IntN(4)), BackoffMs: int64(g.r.IntN(3000)), MaxBackoffMs: int64(g.r.IntN(4000)),
		MaxQueued: int64(g.r.IntN(40)), MaxQueuedPerClient: int64(g.r.IntN(20)), KeepJobs: int64(g.r.IntN(10)),
		KeepForMs: int64(g.r.IntN(3600 * 1000)), CachedCostMs: int64(g.r.IntN(20_000)), UncachedCostMs: int64(g.r.IntN(1_000_000)) - 1000,
		Learn: pb.Switch(g.r.IntN(3)), Steal: pb.Switch(g.r.IntN(3)),
		WaitLimitMs: int64(g.r.IntN(2) * g.r.IntN(60_000)), MaxUrgentPerHour: int64(g.r.IntN(6)),
		MaxRunning: int64(g.r.IntN(3) / 2 * g.r.IntN(8)), MaxRunningPerClient: int64(g.r.IntN(3) / 2 * g.r.IntN(4)), WideAfterMs: int64(g.r.IntN(2)),
	}
}

func (g *Generator) pool(*fsm.State) *pb.Command { return CreatePool(g.poolName(), g.config()) }

func (g *Generator) poolSet(s *fsm.State) *pb.Command {
	update := &pb.UpdatePool{Name: g.poolName(), Config: g.config()}
	switch p, ok := s.Pool(update.Name); {
	case ok && g.chance(3):
		update.Base = p.Config
	case g.chance(6):
		update.Base = g.config()
	}
	return &pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: update}}
}

// poolDelete chooses an idle pool if it can, or few would ever go.
func (g *Generator) poolDelete(s *fsm.State) *pb.Command {
	name := g.poolName()
	for p := range s.Pools() {
		if p.Queued+p.Backoff+p.Running == 0 {
			name = p.Name
		}
	}
	return &pb.Command{Op: &pb.Command_DeletePool{DeletePool: &pb.DeletePool{Name: name}}}
}

func (g *Generator) client(*fsm.State) *pb.Command {
	return AddClient(g.clientName(), float64(g.r.IntN(5))/2)
}

func (g *Generator) clientRemove(*fsm.State) *pb.Command {
	return &pb.Command{Op: &pb.Command_RemoveClient{RemoveClient: &pb.RemoveClient{Name: g.clientName()}}}
}

func (g *Generator) clientRate(*fsm.State) *pb.Command {
	return &pb.Command{Op: &pb.Command_SetClientRate{SetClientRate: &pb.SetClientRate{
		Name: g.clientName(), Rate: float64(g.r.IntN(8)) / 3,
	}}}
}

func (g *Generator) clientLimit(*fsm.State) *pb.Command {
	return &pb.Command{Op: &pb.Command_SetClientLimit{SetClientLimit: &pb.SetClientLimit{Name: g.clientName(), MaxRunning: int64(g.r.IntN(5)) - 1}}}
}

// freePermit is mostly of a lease that holds a key.
func (g *Generator) freePermit(s *fsm.State) *pb.Command {
	lease, _ := g.lease(s)
	for _, a := range s.Holds() {
		if lease = a.Lease; !g.chance(3) {
			break
		}
	}
	return &pb.Command{Op: &pb.Command_FreePermit{FreePermit: &pb.FreePermit{Lease: uint64(lease)}}}
}

func (g *Generator) capability(*fsm.State) *pb.Command {
	c := &pb.Capability{Kind: pb.CapabilityKind(g.r.IntN(7)), Note: g.name("note", 2)}
	if c.Kind == pb.CapabilityKind_CAPABILITY_SUBMIT {
		c.Client = g.clientName()
	}
	for range g.r.IntN(3) {
		c.Pools = append(c.Pools, g.poolName())
	}
	return &pb.Command{Op: &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{
		Capability: c, TokenSha256: Sum(g.name("token", 200)), FirstAdmin: g.chance(4),
	}}}
}

func (g *Generator) revoke(*fsm.State) *pb.Command {
	return &pb.Command{Op: &pb.Command_RevokeCapability{RevokeCapability: &pb.RevokeCapability{Id: g.name("cap-", 40)}}}
}

func (g *Generator) recordChange(*fsm.State) *pb.Command {
	return &pb.Command{
		MinLevel: 4, Actor: &pb.Actor{Capability: g.name("cap-", 40), From: "host"},
		Op: &pb.Command_RecordChange{RecordChange: &pb.RecordChange{Action: g.name("action", 3)[:7*g.r.IntN(2)], Target: g.workerName()}},
	}
}

func (g *Generator) tell(*fsm.State) *pb.Command {
	t := &pb.Tell{}
	for range g.r.IntN(3) {
		t.Happenings = append(t.Happenings, &pb.Happening{Kind: pb.HappeningKind(g.r.IntN(5)), Pool: g.poolName(), Worker: g.workerName()})
	}
	return &pb.Command{MinLevel: 4, Op: &pb.Command_Tell{Tell: t}}
}

// cluster is what happens to the cluster as a whole.
func (g *Generator) cluster(*fsm.State) *pb.Command {
	if g.chance(2) {
		return &pb.Command{Op: &pb.Command_BumpEpoch{BumpEpoch: &pb.BumpEpoch{}}}
	}
	return &pb.Command{Op: &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: uint32(g.r.IntN(2))}}}
}

// pause resumes more often than it pauses, or little would run.
func (g *Generator) pause(*fsm.State) *pb.Command {
	c := &pb.PauseWorkers{Pool: g.poolName(), Resume: !g.chance(3), Reason: g.name("why", 2)}
	for range g.r.IntN(3) {
		c.Names = append(c.Names, g.workerName())
	}
	return &pb.Command{Op: &pb.Command_PauseWorkers{PauseWorkers: c}}
}

func (g *Generator) pausePool(*fsm.State) *pb.Command {
	return &pb.Command{Op: &pb.Command_PausePool{PausePool: &pb.PausePool{Name: g.poolName(), Resume: !g.chance(5), Reason: g.name("why", 2)}}}
}
