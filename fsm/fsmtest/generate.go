package fsmtest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Generator makes an endless run of random commands over a few names, so that
// they meet each other. Most are what a leader might propose of the state that it
// is shown, some are late, repeated, or wrong.
type Generator struct {
	r     *rand.Rand
	now   int64
	total int
	moves []move
}

type move struct {
	weight int
	make   func(*fsm.State) *pb.Command
}

// NewGenerator makes the generator of a seed.
func NewGenerator(seed uint64) *Generator {
	g := &Generator{r: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000}
	g.moves = []move{
		{24, g.submit}, {22, g.grant}, {18, g.finish}, {6, g.expire}, {6, g.cancel}, {8, g.seal},
		{3, g.moveLog}, {2, g.expireLog}, {6, g.trim}, {6, func(*fsm.State) *pb.Command { return Tick() }},
		{6, g.register}, {2, g.forget}, {4, g.pool}, {3, g.poolSet}, {1, g.poolDelete}, {3, g.client},
		{1, g.clientRemove}, {2, g.clientRate}, {3, g.capability}, {2, g.revoke}, {1, g.cluster},
		{4, g.pause}, {2, g.pausePool}, {3, g.freePermit}, {1, g.clientLimit}, {1, g.recordChange}, {2, g.tell},
	}
	for _, m := range g.moves {
		g.total += m.weight
	}
	return g
}

// Next makes a command to be applied to s, which is not changed.
func (g *Generator) Next(s *fsm.State) *pb.Command {
	return At(g.time(), g.pick()(s))
}

func (g *Generator) pick() func(*fsm.State) *pb.Command {
	n := g.r.IntN(g.total)
	for _, m := range g.moves {
		if n -= m.weight; n < 0 {
			return m.make
		}
	}
	panic("fsmtest: weights do not add up")
}

// time goes forward by little, now and then by much, and sometimes back.
func (g *Generator) time() int64 {
	switch g.r.IntN(200) {
	case 0:
		g.now += 61 * 60 * 1000
	case 1, 2, 3:
		g.now += 11 * 60 * 1000
	case 4, 5, 6:
		return g.now - int64(g.r.IntN(5000))
	default:
		g.now += int64(g.r.IntN(400))
	}
	return g.now
}

// name gives one of a few names.
func (g *Generator) name(prefix string, n int) string {
	return fmt.Sprintf("%s%d", prefix, 1+g.r.IntN(n))
}

func (g *Generator) poolName() string   { return g.name("pool", 3) }
func (g *Generator) clientName() string { return g.name("client", 3) }
func (g *Generator) workerName() string { return g.name("w", 3) }

// chance is true once in n.
func (g *Generator) chance(n int) bool { return g.r.IntN(n) == 0 }

// anyJob is mostly one that is there, and sometimes none.
func (g *Generator) anyJob(s *fsm.State) fsm.JobID {
	return fsm.JobID(g.r.Uint64N(uint64(s.LastJob()) + 2))
}

// recent is mostly one of the newest jobs.
func (g *Generator) recent(s *fsm.State) fsm.JobID {
	if last := uint64(s.LastJob()); last > 12 && !g.chance(4) {
		return fsm.JobID(last - g.r.Uint64N(12))
	}
	return g.anyJob(s)
}

func (g *Generator) lease(s *fsm.State) (fsm.LeaseID, *fsm.Job) {
	running := slices.Collect(s.Leases(""))
	if len(running) > 0 && !g.chance(5) {
		j := running[g.r.IntN(len(running))]
		return j.Lease, j
	}
	if j, err := s.Job(g.recent(s)); err == nil && len(j.Attempts) > 0 {
		return j.Attempts[g.r.IntN(len(j.Attempts))].Lease, j
	}
	return fsm.LeaseID(g.r.Uint64N(100)), &fsm.Job{}
}

func (g *Generator) holder(j *fsm.Job) *pb.Holder {
	h := Holder(j.Pool, j.Worker())
	if g.chance(15) {
		h = Holder(g.poolName(), g.workerName())
	}
	if a := j.Last(); a != nil && !g.chance(15) {
		h.KeySha256 = a.Key[:]
	}
	return h
}

func (g *Generator) submit(*fsm.State) *pb.Command {
	key := ""
	if !g.chance(3) {
		key = g.name("key", 60)
	}
	return Submit(g.clientName(), g.poolName(), key, func(c *pb.SubmitJob) {
		if key != "" {
			c.Key.CreatedMs = g.now - int64(g.r.IntN(90*60*1000)) + int64(g.r.IntN(10*60*1000))
		}
		if g.chance(30) {
			c.Spec = Spec("other")
			c.SpecSha256 = Sum(string(c.Spec))
		}
		if g.chance(2) {
			c.CacheHint = g.name("hint", 4)
		}
		if g.chance(4) {
			c.Sealed = []byte(g.name("box", 9))
		}
		if g.chance(4) {
			c.WaitLimitMs = int64(g.r.IntN(20_000))
		}
		c.Urgent, c.Slots = g.chance(5), uint32(g.r.IntN(3))
		if g.chance(5) {
			c.Labels = g.labels()
		}
		if g.chance(3) {
			c.GrantTo = g.workerName()
		}
		if g.chance(5) {
			c.Concurrency = &pb.Concurrency{Key: g.name("key", 3), Most: 1 + uint32(g.r.IntN(8)/7)}
			c.LeashMs = int64(g.r.IntN(3)) * 1000
		}
		c.SlidingHour = !g.chance(5)
		if g.chance(4) {
			c.Priority = uint32(g.r.IntN(3))
		}
		if g.chance(4) {
			c.RetryExitCodes = []int32{7}
		}
		if g.chance(50) {
			c.CacheHint = "a\x00b"
		}
	})
}

func (g *Generator) labels() []*pb.Label {
	return []*pb.Label{{Name: "arch", Value: g.name("a", 2)}}
}

func (g *Generator) grant(s *fsm.State) *pb.Command {
	id := g.recent(s)
	var first fsm.JobID
	for j := range s.Queue(g.poolName()) {
		if first == 0 {
			first = j.ID
		}
		if id = j.ID; g.chance(3) {
			break
		}
	}
	c := Grant(id, g.workerName())
	c.GetGrantLease().LeashMs, c.GetGrantLease().InPlaceOf = int64(1+g.r.IntN(9))*900, uint64(first)
	return c
}

func (g *Generator) finish(s *fsm.State) *pb.Command {
	id, j := g.lease(s)
	kinds := []pb.OutcomeKind{
		pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED,
		pb.OutcomeKind_OUTCOME_CANCELLED, pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_WORKER_RESTARTED,
		pb.OutcomeKind_OUTCOME_WORKER_ERROR, pb.OutcomeKind_OUTCOME_WORKER_ERROR, pb.OutcomeKind_OUTCOME_WORKER_LOST,
	}
	c := Finish(id, g.holder(j), kinds[g.r.IntN(len(kinds))])
	c.GetFinishAttempt().GetOutcome().ExitCode = int32(g.r.IntN(2) * 7)
	c.GetFinishAttempt().GetOutcome().Message = g.name("because ", 3)
	return c
}

func (g *Generator) expire(s *fsm.State) *pb.Command {
	id, _ := g.lease(s)
	why := pb.OutcomeKind_OUTCOME_WORKER_LOST
	if g.chance(3) {
		why = pb.OutcomeKind_OUTCOME_WORKER_REVOKED
	} else if g.chance(3) {
		why = pb.OutcomeKind_OUTCOME_EVICTED
	}
	return Expire(id, why, "silent")
}

func (g *Generator) cancel(s *fsm.State) *pb.Command {
	return Cancel(g.recent(s), g.name("reason ", 2))
}

func (g *Generator) seal(s *fsm.State) *pb.Command {
	id, j := g.lease(s)
	holder := g.holder(j)
	if g.chance(4) {
		holder = nil
	}
	return Seal(id, holder, int64(g.r.IntN(2)))
}

func (g *Generator) nodes() []string {
	return [][]string{{"n1", "n2"}, {"n2", "n3"}, {"n1"}, {}}[g.r.IntN(4)]
}

// logged is mostly an attempt with a sealed log.
func (g *Generator) logged(s *fsm.State) (job uint64, attempt uint32) {
	page, _ := s.Jobs(fsm.Filter{Limit: 40})
	for _, j := range page {
		if a := j.Last(); a != nil && a.Log != nil && g.chance(3) {
			return uint64(j.ID), uint32(a.No)
		}
	}
	return uint64(g.recent(s)), uint32(g.r.IntN(3))
}

func (g *Generator) moveLog(s *fsm.State) *pb.Command {
	job, attempt := g.logged(s)
	return &pb.Command{Op: &pb.Command_MoveLog{MoveLog: &pb.MoveLog{Job: job, Attempt: attempt, Holders: g.nodes()}}}
}

func (g *Generator) expireLog(s *fsm.State) *pb.Command {
	job, attempt := g.logged(s)
	return &pb.Command{Op: &pb.Command_ExpireLog{ExpireLog: &pb.ExpireLog{Job: job, Attempt: attempt}}}
}

func (g *Generator) trim(s *fsm.State) *pb.Command {
	ids := []fsm.JobID{g.anyJob(s), g.anyJob(s)}
	for name := range s.RetentionPools() {
		ids = append(ids, s.Trimmable(g.now, name, g.r.IntN(20))...)
	}
	return Trim(ids...)
}
