package fsm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// afterAttempt says what becomes of a job whose attempt ended so: next is the
// copy of j to be changed, already without its lease.
//
//	failed with an exit code that the job names, and
//	no request to cancel                                as the worker's own failures, below
//	a result (succeeded, failed, timed out, cancelled)  settles the job
//	any other end after a request to cancel             settles it as cancelled
//	the worker's capability was revoked, or an operator
//	took the job off the worker                         back to the backlog, at its old place
//	the worker was lost, restarted, or could not run it back-off, then the backlog, at its old
//	                                                    place; settles after the pool's attempts
func (s *State) afterAttempt(j, next *Job, out *pb.Outcome) {
	switch {
	case j.Cancel == nil && j.retriesAfter(out):
		s.retry(j, next, out)
	case isResult(out.GetKind()):
		s.settle(j, next, out)
	case j.Cancel != nil:
		s.settle(j, next, &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_CANCELLED, Message: j.Cancel.Reason})
	case out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_REVOKED, out.GetKind() == pb.OutcomeKind_OUTCOME_EVICTED:
		s.requeue(j, next)
	default:
		s.retry(j, next, out)
	}
}

func (s *State) retry(j, next *Job, out *pb.Outcome) {
	p, _ := s.pools.get(j.Pool)
	limits := p.Limits()
	next.Failures++
	if next.Failures >= limits.Attempts {
		s.settle(j, next, exhausted(next, out))
		return
	}
	next.State = pb.JobState_JOB_STATE_BACKOFF
	next.NotBefore = s.now + limits.backoff(next.Failures)
	s.store(j, next)
	s.emitJob(JobBackoff, next)
}

// requeue puts a job back in the backlog, with its fair start time of old.
func (s *State) requeue(j, next *Job) {
	next.State = pb.JobState_JOB_STATE_QUEUED
	next.NotBefore = 0
	s.store(j, next)
	s.emitJob(JobQueued, next)
}

// endBackoffs returns to the backlog the jobs whose time has come.
func (s *State) endBackoffs() {
	for range dueBatch {
		j, ok := s.backoff.min()
		if !ok || j.NotBefore > s.now {
			return
		}
		s.requeue(j, clone(j))
	}
}

// backoff is the wait after so many failures: doubled for each, up to a limit.
func (l Limits) backoff(failures uint32) int64 {
	wait := l.Backoff
	for n := uint32(1); n < failures && wait < l.MaxBackoff; n++ {
		wait *= 2
	}
	return min(wait, l.MaxBackoff)
}

// retriesAfter says whether a build that failed so is tried again.
func (j *Job) retriesAfter(out *pb.Outcome) bool {
	return out.GetKind() == pb.OutcomeKind_OUTCOME_FAILED && slices.Contains(j.RetryExits, out.GetExitCode())
}

// exhausted is the outcome of a job that has no attempts left: the build's own, or
// lost, unless the last worker said what was wrong with it.
func exhausted(j *Job, out *pb.Outcome) *pb.Outcome {
	if isResult(out.GetKind()) {
		return out
	}
	kind := pb.OutcomeKind_OUTCOME_LOST
	if out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_ERROR {
		kind = out.GetKind()
	}
	return &pb.Outcome{Kind: kind, Message: clip(causes(j), MaxReasonLen)}
}

// causes tells how each attempt of a job ended.
func causes(j *Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "no attempt brought a result:")
	for i := range j.Attempts {
		a := &j.Attempts[i]
		fmt.Fprintf(&b, " %d on %s: %s", a.No, a.Worker, OutcomeName(a.Outcome.GetKind()))
		if m := a.Outcome.GetMessage(); m != "" {
			fmt.Fprintf(&b, " (%s)", m)
		}
		if i < len(j.Attempts)-1 {
			b.WriteByte(';')
		}
	}
	return b.String()
}

// isResult says whether an outcome is the build's own, which no retry would
// better.
func isResult(kind pb.OutcomeKind) bool {
	switch kind {
	case pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED,
		pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_CANCELLED:
		return true
	}
	return false
}

// OutcomeName is an outcome's name for people, as in "worker lost".
func OutcomeName(kind pb.OutcomeKind) string { return plain(kind.String(), "OUTCOME_") }

// StateName is a job state's name for people, as in "queued".
func StateName(state pb.JobState) string { return plain(state.String(), "JOB_STATE_") }

func plain(name, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", " "))
}
