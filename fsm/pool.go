package fsm

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// Limits are a pool's settings with the defaults filled in. Durations and costs
// are in milliseconds.
type Limits struct {
	LeaseTTL            int64 // 0: the profile's
	Attempts            uint32
	Backoff             int64
	MaxBackoff          int64
	MaxQueued           int
	MaxQueuedPerClient  int
	KeepJobs            int
	KeepFor             int64
	TimeLimit           int64
	LogLimit            int64 // bytes
	CachedCost          int64
	UncachedCost        int64
	WaitLimit           int64 // 0: none
	MaxUrgentPerHour    int64 // of a client; 0: no limit
	MaxRunning          int   // 0: no limit
	MaxRunningPerClient int   // 0: no limit
	WideAfter           int64
	Learn               bool
	Steal               bool
}

// Limits resolves the pool's configuration.
func (p *Pool) Limits() Limits {
	c := p.Config
	l := Limits{
		LeaseTTL:     c.GetLeaseTtlMs(),
		Attempts:     orDefault(c.GetAttempts(), 3),
		Backoff:      orDefault(c.GetBackoffMs(), 1000),
		MaxBackoff:   orDefault(c.GetMaxBackoffMs(), 60_000),
		MaxQueued:    int(orDefault(c.GetMaxQueued(), 100_000)),
		KeepJobs:     int(orDefault(c.GetKeepJobs(), 10_000)),
		KeepFor:      orDefault(c.GetKeepForMs(), 30*24*3600*1000),
		TimeLimit:    orDefault(c.GetTimeLimitMs(), 3600*1000),
		LogLimit:     orDefault(c.GetLogLimitBytes(), 256<<20),
		CachedCost:   orDefault(c.GetCachedCostMs(), 10_000),
		UncachedCost: orDefault(c.GetUncachedCostMs(), 600_000),
	}
	l.WaitLimit, l.MaxUrgentPerHour = c.GetWaitLimitMs(), c.GetMaxUrgentPerHour()
	l.MaxRunning, l.MaxRunningPerClient = int(c.GetMaxRunning()), int(c.GetMaxRunningPerClient())
	l.WideAfter = orDefault(c.GetWideAfterMs(), 60_000)
	l.Learn = c.GetLearn() == pb.Switch_SWITCH_ON
	l.Steal = c.GetSteal() == pb.Switch_SWITCH_ON
	l.MaxQueuedPerClient = int(orDefault(c.GetMaxQueuedPerClient(), int64(max(l.MaxQueued/4, 1))))
	return l
}

// Config is the limits as a pool's configuration.
func (l Limits) Config() *pb.PoolConfig {
	return &pb.PoolConfig{
		LeaseTtlMs: l.LeaseTTL, Attempts: l.Attempts, BackoffMs: l.Backoff, MaxBackoffMs: l.MaxBackoff,
		MaxQueued: int64(l.MaxQueued), MaxQueuedPerClient: int64(l.MaxQueuedPerClient),
		KeepJobs: int64(l.KeepJobs), KeepForMs: l.KeepFor, TimeLimitMs: l.TimeLimit, LogLimitBytes: l.LogLimit,
		CachedCostMs: l.CachedCost, UncachedCostMs: l.UncachedCost, Learn: switchOf(l.Learn), Steal: switchOf(l.Steal),
		WaitLimitMs: l.WaitLimit, MaxUrgentPerHour: l.MaxUrgentPerHour,
		MaxRunning: int64(l.MaxRunning), MaxRunningPerClient: int64(l.MaxRunningPerClient), WideAfterMs: l.WideAfter,
	}
}

func switchOf(on bool) pb.Switch {
	if on {
		return pb.Switch_SWITCH_ON
	}
	return pb.Switch_SWITCH_OFF
}

func orDefault[N uint32 | int64](value, otherwise N) N {
	if value == 0 {
		return otherwise
	}
	return value
}

// createPool makes a pool. One that was deleted and still has finished jobs to
// trim comes back with them.
func (s *State) createPool(c *pb.CreatePool) Result {
	if err := ValidateName("pool", c.GetName()); err != nil {
		return refuse(Invalid, "create pool: %v", err)
	}
	if err := ValidatePoolConfig(c.GetConfig()); err != nil {
		return refuse(Invalid, "create pool %s: %v", c.GetName(), err)
	}
	p := Pool{Name: c.GetName()}
	if old, ok := s.pools.get(p.Name); ok {
		if !old.deleted {
			return refuse(Conflict, "there is a pool %s already; change it instead (weir pool set)", old.Name)
		}
		p = *old
		p.deleted, p.Pause = false, nil
	} else if s.pools.len() >= MaxPools {
		return refuse(Full, "there are %d pools, the limit; delete one that is not used", s.pools.len())
	}
	p.Config, p.Created = configOf(c.GetConfig()), s.now
	s.setPool(&p)
	return Result{}
}

func (s *State) updatePool(c *pb.UpdatePool) Result {
	old, ok := s.Pool(c.GetName())
	if !ok {
		return Result{Refusal: noPool(c.GetName())}
	}
	if err := ValidatePoolConfig(c.GetConfig()); err != nil {
		return refuse(Invalid, "update pool %s: %v", old.Name, err)
	}
	config := configOf(c.GetConfig())
	if proto.Equal(config, old.Config) {
		return Result{Repeat: true}
	}
	if base := c.GetBase(); base != nil && !proto.Equal(configOf(base), old.Config) {
		return refuse(Conflict, "update pool %s: somebody else has changed it meanwhile; look at it (weir pool show) and try again", old.Name)
	}
	p := *old
	p.Config = config
	s.setPool(&p)
	return Result{}
}

func (s *State) setPool(p *Pool) {
	s.pools.set(p.Name, p)
	s.emit(Event{Kind: PoolChanged, Pool: p.Name})
}

// deletePool removes a pool in which nothing waits or runs: its workers, what
// they have cached, its shares and its worker capabilities. Its finished jobs
// stay readable until Trim has taken them, by the ten-minute rule.
func (s *State) deletePool(c *pb.DeletePool) Result {
	p, ok := s.Pool(c.GetName())
	if !ok {
		return Result{Refusal: noPool(c.GetName())}
	}
	if waiting := p.Queued + p.Backoff; waiting+p.Running > 0 {
		return refuse(Refused, "pool %s has %d jobs waiting and %d running; cancel them or let them end, then delete it", p.Name, waiting, p.Running)
	}
	for _, w := range slices.Collect(s.Workers(p.Name)) {
		s.dropWorker(w)
	}
	for _, h := range slices.Collect(s.Shares(p.Name)) {
		s.shares.del(h)
	}
	for _, cp := range slices.Collect(s.caps.values()) {
		if cp.Kind == pb.CapabilityKind_CAPABILITY_WORKER && cp.Revoked == 0 && cp.Pools[0] == p.Name {
			s.revoke(cp)
		}
	}
	s.dropCosts(p.Name)
	left, _ := s.pools.get(p.Name)
	gone := *left
	gone.deleted = true
	s.pools.set(gone.Name, &gone)
	s.dropIfEmpty(&gone)
	s.emit(Event{Kind: PoolDeleted, Pool: p.Name})
	return Result{}
}

// dropIfEmpty ends a deleted pool when its last finished job is gone.
func (s *State) dropIfEmpty(p *Pool) {
	if p.deleted && p.Settled == 0 {
		s.pools.del(p.Name)
	}
}

// configOf copies what this binary knows of a configuration.
func configOf(c *pb.PoolConfig) *pb.PoolConfig {
	return &pb.PoolConfig{
		LeaseTtlMs: c.GetLeaseTtlMs(), Attempts: c.GetAttempts(), BackoffMs: c.GetBackoffMs(),
		MaxBackoffMs: c.GetMaxBackoffMs(), MaxQueued: c.GetMaxQueued(),
		MaxQueuedPerClient: c.GetMaxQueuedPerClient(), KeepJobs: c.GetKeepJobs(),
		KeepForMs: c.GetKeepForMs(), TimeLimitMs: c.GetTimeLimitMs(),
		LogLimitBytes: c.GetLogLimitBytes(), CachedCostMs: c.GetCachedCostMs(),
		UncachedCostMs: c.GetUncachedCostMs(), Learn: c.GetLearn(), Steal: c.GetSteal(),
		Recipient: c.GetRecipient(), WaitLimitMs: c.GetWaitLimitMs(), MaxUrgentPerHour: c.GetMaxUrgentPerHour(),
		MaxRunning: c.GetMaxRunning(), MaxRunningPerClient: c.GetMaxRunningPerClient(), WideAfterMs: c.GetWideAfterMs(),
	}
}

func noPool(name string) *Refusal {
	return refusal(NotFound, "there is no pool %s; see the pools with weir pool list", quote(name))
}
