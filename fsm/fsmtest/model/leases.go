package model

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

var reported = []pb.OutcomeKind{
	pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED, pb.OutcomeKind_OUTCOME_CANCELLED,
	pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_WORKER_RESTARTED, pb.OutcomeKind_OUTCOME_WORKER_ERROR,
}

// heldBy finds the attempt of a lease for its holder.
func (m *Model) heldBy(lease uint64, h *pb.Holder) (*fsm.Job, *fsm.Attempt) {
	j, a := m.attempt(lease)
	if a == nil || j.Pool != h.GetPool() || a.Worker != h.GetWorker() || !bytes.Equal(a.Key[:], h.GetKeySha256()) {
		return nil, nil
	}
	return j, a
}

func (m *Model) finish(c *pb.FinishAttempt) fsm.Result {
	if !slices.Contains(reported, c.GetOutcome().GetKind()) {
		return refuse(fsm.Invalid)
	}
	j, a := m.heldBy(c.GetLease(), c.GetHolder())
	if a == nil {
		return refuse(fsm.Fenced)
	}
	r := fsm.Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: a.Worker, Recorded: true, Repeat: a.Outcome != nil}
	if a.Outcome == nil {
		m.end(j, a, c.GetOutcome())
	} else if !slices.Contains(reported, a.Outcome.GetKind()) {
		r := refuse(fsm.Fenced)
		r.Outcome = a.Outcome
		return r
	}
	r.Outcome = a.Outcome
	return r
}

func (m *Model) expire(c *pb.ExpireLease) fsm.Result {
	if c.GetWhy() != pb.OutcomeKind_OUTCOME_WORKER_LOST && !isTaken(c.GetWhy()) {
		return refuse(fsm.Invalid)
	}
	j, a := m.attempt(c.GetLease())
	if a == nil || a.Outcome != nil {
		return refuse(fsm.Fenced)
	}
	m.end(j, a, &pb.Outcome{Kind: c.GetWhy(), Message: c.GetMessage()})
	return fsm.Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: a.Worker, Outcome: a.Outcome}
}

// isTaken says whether the job was taken from a worker that did nothing wrong.
func isTaken(kind pb.OutcomeKind) bool {
	return kind == pb.OutcomeKind_OUTCOME_WORKER_REVOKED || kind == pb.OutcomeKind_OUTCOME_EVICTED
}

func (m *Model) end(j *fsm.Job, a *fsm.Attempt, out *pb.Outcome) {
	a.Outcome, a.Ended = out, m.now
	a.Held = j.Concurrency != "" && (!slices.Contains(reported, out.GetKind()) || out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_RESTARTED)
	m.learn(j, a)
	m.emit(fsm.Event{Kind: fsm.AttemptEnded, Job: j.ID, Attempt: a.No, Lease: a.Lease, Pool: j.Pool, Worker: a.Worker, Client: j.Client, Outcome: out.GetKind()})
	j.Lease = 0
	infrastructure := out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_LOST || out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_ERROR ||
		out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_RESTARTED
	switch taken := isTaken(out.GetKind()); {
	case (infrastructure || taken) && j.Cancel != nil:
		m.settle(j, &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_CANCELLED, Message: j.Cancel.Reason})
	case taken:
		m.queue(j)
	case infrastructure:
		m.failed(j, out)
	case out.GetKind() == pb.OutcomeKind_OUTCOME_FAILED && j.Cancel == nil && slices.Contains(j.RetryExits, out.GetExitCode()):
		m.failed(j, out)
	default:
		m.settle(j, out)
	}
}

func (m *Model) failed(j *fsm.Job, out *pb.Outcome) {
	limits := m.limits(j.Pool)
	if j.Failures++; j.Failures < limits.Attempts {
		wait := float64(limits.Backoff)
		for range j.Failures - 1 {
			wait *= 2
		}
		j.State, j.NotBefore = backoff, m.now+min(int64(wait), limits.MaxBackoff)
		m.emit(fsm.Event{Kind: fsm.JobBackoff, Job: j.ID, Pool: j.Pool, Client: j.Client})
		return
	}
	if out.GetKind() == pb.OutcomeKind_OUTCOME_FAILED {
		m.settle(j, out)
		return
	}
	message := "no attempt brought a result:"
	for i, a := range j.Attempts {
		if i > 0 {
			message += ";"
		}
		message += fmt.Sprintf(" %d on %s: %s", a.No, a.Worker, fsm.OutcomeName(a.Outcome.GetKind()))
		if why := a.Outcome.GetMessage(); why != "" {
			message += " (" + why + ")"
		}
	}
	kind := pb.OutcomeKind_OUTCOME_LOST
	if out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_ERROR {
		kind = pb.OutcomeKind_OUTCOME_WORKER_ERROR
	}
	m.settle(j, &pb.Outcome{Kind: kind, Message: message})
}

func (m *Model) queue(j *fsm.Job) {
	j.State, j.NotBefore = queued, 0
	m.emit(fsm.Event{Kind: fsm.JobQueued, Job: j.ID, Pool: j.Pool, Client: j.Client})
}

func (m *Model) endBackoffs() {
	due := m.those(func(j *fsm.Job) bool { return j.State == backoff && j.NotBefore <= m.now })
	slices.SortStableFunc(due, func(a, b *fsm.Job) int { return cmp.Compare(a.NotBefore, b.NotBefore) })
	for _, j := range due {
		m.queue(j)
	}
}

func (m *Model) seal(c *pb.SealLog) fsm.Result {
	if len(c.GetHolders()) == 0 {
		return refuse(fsm.Invalid)
	}
	j, a := m.attempt(c.GetLease())
	if c.GetHolder() != nil {
		j, a = m.heldBy(c.GetLease(), c.GetHolder())
	}
	switch {
	case a == nil:
		return refuse(fsm.Fenced)
	case c.GetHolder() == nil && a.Outcome == nil:
		return refuse(fsm.Refused)
	case a.Log.GetExpired():
		return refuse(fsm.Expired)
	case a.Log != nil && (a.Log.GetBytes() != c.GetBytes() || !bytes.Equal(a.Log.GetSha256(), c.GetSha256())):
		return refuse(fsm.Conflict)
	}
	r := fsm.Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: a.Worker, Repeat: a.Log != nil}
	if a.Log == nil {
		a.Log = &pb.LogInfo{Bytes: c.GetBytes(), Sha256: c.GetSha256(), Holders: c.GetHolders()}
		m.logEvent(fsm.LogSealed, j, a)
	}
	return r
}

func (m *Model) attemptOf(job uint64, no uint32) (*fsm.Job, *fsm.Attempt, fsm.Kind) {
	j, kind := m.job(job)
	if kind != "" {
		return nil, nil, kind
	}
	for i := range j.Attempts {
		if a := &j.Attempts[i]; uint32(a.No) == no {
			return j, a, ""
		}
	}
	if no == 0 {
		return nil, nil, fsm.Invalid
	}
	return nil, nil, fsm.NotFound
}

func (m *Model) moveLog(c *pb.MoveLog) fsm.Result {
	if len(c.GetHolders()) == 0 {
		return refuse(fsm.Invalid)
	}
	j, a, kind := m.attemptOf(c.GetJob(), c.GetAttempt())
	switch {
	case kind != "":
		return refuse(kind)
	case a.Log == nil:
		return refuse(fsm.Refused)
	case a.Log.GetExpired():
		return refuse(fsm.Expired)
	case slices.Equal(a.Log.GetHolders(), c.GetHolders()):
		return fsm.Result{Job: j.ID, Attempt: a.No, Repeat: true}
	}
	a.Log = &pb.LogInfo{Bytes: a.Log.GetBytes(), Sha256: a.Log.GetSha256(), Holders: c.GetHolders()}
	m.logEvent(fsm.LogMoved, j, a)
	return fsm.Result{Job: j.ID, Attempt: a.No}
}

func (m *Model) expireLog(c *pb.ExpireLog) fsm.Result {
	j, a, kind := m.attemptOf(c.GetJob(), c.GetAttempt())
	switch {
	case kind != "":
		return refuse(kind)
	case a.Outcome == nil:
		return refuse(fsm.Refused)
	case a.Log.GetExpired():
		return fsm.Result{Job: j.ID, Attempt: a.No, Repeat: true}
	}
	a.Log = &pb.LogInfo{Bytes: a.Log.GetBytes(), Sha256: a.Log.GetSha256(), Expired: true}
	m.logEvent(fsm.LogExpired, j, a)
	return fsm.Result{Job: j.ID, Attempt: a.No}
}

func (m *Model) logEvent(kind fsm.EventKind, j *fsm.Job, a *fsm.Attempt) {
	m.emit(fsm.Event{Kind: kind, Job: j.ID, Attempt: a.No, Lease: a.Lease, Pool: j.Pool, Worker: a.Worker, Client: j.Client})
}
