package fsm

import (
	"fmt"

	"github.com/weirbuild/weir/proto/pb"
)

// The events of many commands share one piece of memory: room for manyEvents is
// made at a time, and for at least fewEvents before a command.
const (
	fewEvents  = 8
	manyEvents = 64
)

// maxTime keeps sums of times and durations far from overflow.
const maxTime = 1 << 52

// Apply does one command, or refuses it, and says what happened. It keeps parts
// of the command, which must not change afterwards. It panics on a command that
// this binary cannot understand, before anything has changed: stopping is better
// than diverging.
func (s *State) Apply(c *pb.Command) Result {
	s.Begin()
	return s.ApplyNext(c)
}

// Begin starts a batch: commands that ApplyNext does with nobody looking at the
// state in between.
func (s *State) Begin() { s.batch++ }

// ApplyNext is Apply for a command of the batch that has begun.
func (s *State) ApplyNext(c *pb.Command) Result {
	mustUnderstand(c)
	if cap(s.events)-len(s.events) < fewEvents {
		s.events = make([]Event, 0, manyEvents)
	}
	from := len(s.events)
	s.advance(c.GetIssuedAtMs())
	draft := s.draft(c)
	r := s.apply(c)
	s.record(draft, r)
	r.Events = s.events[from:len(s.events):len(s.events)]
	return r
}

func mustUnderstand(c *pb.Command) {
	needs := max(c.GetMinLevel(), c.GetSetFeatureLevel().GetLevel())
	if needs > FeatureLevel {
		panic(fmt.Sprintf("fsm: a command needs feature level %d and this binary has %d; upgrade this node", needs, FeatureLevel))
	}
	if c.GetOp() == nil {
		panic("fsm: a command is of an unknown kind; upgrade this node")
	}
}

func (s *State) apply(c *pb.Command) Result {
	switch op := c.GetOp().(type) {
	case *pb.Command_SubmitJob:
		return s.submitJob(op.SubmitJob)
	case *pb.Command_GrantLease:
		return s.grantLease(op.GrantLease)
	case *pb.Command_FinishAttempt:
		return s.finishAttempt(op.FinishAttempt)
	case *pb.Command_SealLog:
		return s.sealLog(op.SealLog)
	case *pb.Command_ExpireLease:
		return s.expireLease(op.ExpireLease)
	case *pb.Command_CancelJob:
		return s.cancelJob(op.CancelJob)
	case *pb.Command_Trim:
		return s.trim(op.Trim)
	case *pb.Command_MoveLog:
		return s.moveLog(op.MoveLog)
	case *pb.Command_ExpireLog:
		return s.expireLog(op.ExpireLog)
	case *pb.Command_Tick:
		return Result{}
	case *pb.Command_RegisterWorker:
		return s.registerWorker(op.RegisterWorker)
	case *pb.Command_ForgetWorker:
		return s.forgetWorker(op.ForgetWorker)
	case *pb.Command_CreatePool:
		return s.createPool(op.CreatePool)
	case *pb.Command_UpdatePool:
		return s.updatePool(op.UpdatePool)
	case *pb.Command_DeletePool:
		return s.deletePool(op.DeletePool)
	case *pb.Command_AddClient:
		return s.addClient(op.AddClient)
	case *pb.Command_RemoveClient:
		return s.removeClient(op.RemoveClient)
	case *pb.Command_SetClientRate:
		return s.setClientRate(op.SetClientRate)
	case *pb.Command_CreateCapability:
		return s.createCapability(op.CreateCapability)
	case *pb.Command_RevokeCapability:
		return s.revokeCapability(op.RevokeCapability)
	case *pb.Command_SetFeatureLevel:
		return s.setFeatureLevel(op.SetFeatureLevel)
	case *pb.Command_BumpEpoch:
		return s.bumpEpoch()
	case *pb.Command_PauseWorkers:
		return s.pauseWorkers(op.PauseWorkers)
	case *pb.Command_PausePool:
		return s.pausePool(op.PausePool)
	case *pb.Command_FreePermit:
		return s.freePermit(op.FreePermit)
	case *pb.Command_SetClientLimit:
		return s.setClientLimit(op.SetClientLimit)
	case *pb.Command_RecordChange:
		return s.recordChange(op.RecordChange)
	case *pb.Command_Tell:
		return s.tell(op.Tell)
	default:
		panic(fmt.Sprintf("fsm: unknown command %T; upgrade this node", op))
	}
}

// advance moves time forward, and changes what time alone changes. A bounded
// share of that is done with each command, so that none takes long; a Tick at
// Due does the rest.
func (s *State) advance(issuedAt int64) {
	s.now = max(s.now, min(issuedAt, maxTime))
	s.endBackoffs()
	s.endWaits()
	s.forgetKeys()
}

func (s *State) emit(e Event) { s.events = append(s.events, e) }

// setFeatureLevel only raises it.
func (s *State) setFeatureLevel(c *pb.SetFeatureLevel) Result {
	if c.GetLevel() <= s.level {
		return Result{Repeat: true}
	}
	s.level = c.GetLevel()
	return Result{}
}

// bumpEpoch follows a restore from backup: later leases are above any that the
// lost part of the log may have given.
func (s *State) bumpEpoch() Result {
	s.epoch++
	s.lastLease = 0
	return Result{}
}

func (s *State) nextLease() LeaseID {
	s.lastLease++
	return LeaseID(s.epoch<<leaseCounterBits | s.lastLease)
}
