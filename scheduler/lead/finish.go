package lead

import (
	"errors"
	"fmt"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// finish proposes what a worker reports as the end of an attempt, and
// acknowledges what is then recorded. A report that could not be recorded ends
// the session: the worker repeats it in the next one.
func (s *session) finish(f *pb.FinishedAttempt) {
	c := &pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{
		Lease:   f.Lease,
		Holder:  &pb.Holder{Pool: s.pool.name, Worker: s.name, KeySha256: s.key[:]},
		Outcome: understood(f.Outcome),
	}}}
	lease := f.Lease
	s.term.store.ProposeAsync(c, func(r fsm.Result, err error) { s.finished(lease, r, err) })
}

func (s *session) finished(lease uint64, r fsm.Result, err error) {
	ack := &pb.FinishAck{Lease: lease, Recorded: r.Recorded, Outcome: r.Outcome}
	refusal, refused := errors.AsType[*fsm.Refusal](err)
	switch {
	case refused && refusal.Kind != fsm.Fenced:
		s.term.log.Warn("a worker's report was refused", "pool", s.pool.name, "worker", s.name, "lease", lease, "error", err)
	case err != nil && !refused:
		s.end(fmt.Errorf("record the end of lease %d: %w", lease, err))
		return
	}
	s.check(s.out.finishAck(ack))
}

// understood replaces an outcome that a worker cannot report, or that this
// program does not know, so that its job does not wait for ever.
func understood(o *pb.Outcome) *pb.Outcome {
	switch o.GetKind() {
	case pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED, pb.OutcomeKind_OUTCOME_CANCELLED,
		pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_WORKER_RESTARTED, pb.OutcomeKind_OUTCOME_WORKER_ERROR:
		return o
	}
	return &pb.Outcome{
		Kind:    pb.OutcomeKind_OUTCOME_WORKER_ERROR,
		Message: fmt.Sprintf("the worker reported an end that this cluster does not know (%v): %s", o.GetKind(), o.GetMessage()),
	}
}
