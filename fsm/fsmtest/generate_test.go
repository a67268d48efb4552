package fsmtest_test

import (
	"fmt"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

// TestGeneratorReaches makes sure that random commands are worth their time:
// every kind of command succeeds at times, every kind of event and of refusal
// happens, and jobs end in every way.
func TestGeneratorReaches(t *testing.T) {
	done, refused, events, outcomes := map[string]int{}, map[fsm.Kind]int{}, map[fsm.EventKind]int{}, map[pb.OutcomeKind]int{}
	for seed := range uint64(10) {
		s, g := fsm.New(), fsmtest.NewGenerator(seed)
		for range 1500 {
			c := g.Next(s)
			r := s.Apply(c)
			if r.Refusal != nil {
				refused[r.Refusal.Kind]++
			} else {
				done[fmt.Sprintf("%T", c.GetOp())]++
			}
			for _, e := range r.Events {
				events[e.Kind]++
				if e.Kind == fsm.JobSettled {
					outcomes[e.Outcome]++
				}
			}
		}
	}
	ops := (&pb.Command{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields().Len()
	if len(done) != ops {
		t.Errorf("%d of %d commands succeed: %v", len(done), ops, done)
	}
	for kind := fsm.JobQueued; kind <= fsm.PermitFreed; kind++ {
		if events[kind] < 5 {
			t.Errorf("event %s happens %d times", kind, events[kind])
		}
	}
	for _, kind := range []fsm.Kind{fsm.NotFound, fsm.Expired, fsm.Conflict, fsm.Fenced, fsm.Full, fsm.Invalid, fsm.TooOld, fsm.Refused} {
		if refused[kind] < 5 {
			t.Errorf("refusal %s happens %d times", kind, refused[kind])
		}
	}
	for _, kind := range []pb.OutcomeKind{
		pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED, pb.OutcomeKind_OUTCOME_CANCELLED,
		pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_LOST, pb.OutcomeKind_OUTCOME_WORKER_ERROR,
	} {
		if outcomes[kind] < 5 {
			t.Errorf("jobs end as %v %d times", kind, outcomes[kind])
		}
	}
	t.Log(done, refused, events, outcomes)
}
