package state

import (
	"slices"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

func results(kind fsm.EventKind, jobs ...fsm.JobID) []fsm.Result {
	var all []fsm.Result
	for _, id := range jobs {
		all = append(all, fsm.Result{Events: []fsm.Event{{Kind: kind, Job: id}}})
	}
	return all
}

func jobsOf(events []fsm.Event) []fsm.JobID {
	var ids []fsm.JobID
	for _, e := range events {
		ids = append(ids, e.Job)
	}
	return ids
}

func TestSubscription(t *testing.T) {
	s := &Store{}
	all, queued := s.Subscribe("all"), s.Subscribe("queued", fsm.JobQueued)
	s.subs.publish(results(fsm.JobQueued, 1, 2))
	s.subs.publish(results(fsm.JobSettled, 1))
	<-all.Ready()
	events, lost := all.Take(nil)
	if got := jobsOf(events); lost || !slices.Equal(got, []fsm.JobID{1, 2, 1}) {
		t.Errorf("all: %v, lost %v", got, lost)
	}
	if events, _ := all.Take(events); len(events) != 0 {
		t.Errorf("events came twice: %v", events)
	}
	<-queued.Ready()
	if events, _ := queued.Take(nil); !slices.Equal(jobsOf(events), []fsm.JobID{1, 2}) {
		t.Errorf("queued: %v", events)
	}

	all.Close()
	s.subs.publish(results(fsm.JobQueued, 3))
	if events, _ := all.Take(nil); len(events) != 0 {
		t.Errorf("a closed subscription got %v", events)
	}
	s.subs.publish(results(fsm.JobQueued, 4))
	queued.Reset()
	s.subs.publish(results(fsm.JobQueued, 5))
	if events, _ := queued.Take(nil); !slices.Equal(jobsOf(events), []fsm.JobID{5}) {
		t.Errorf("after a reset: %v", events)
	}
}

// A subscriber that does not keep up is told, and goes on from there.
func TestSubscriptionOverflow(t *testing.T) {
	s := &Store{}
	sub := s.Subscribe("slow")
	block := results(fsm.JobQueued, make([]fsm.JobID, 1<<12)...)
	for range maxPending/len(block) + 1 {
		s.subs.publish(block)
	}
	<-sub.Ready()
	if events, lost := sub.Take(nil); !lost || len(events) != 0 {
		t.Errorf("%d events, lost %v", len(events), lost)
	}
	s.subs.publish(results(fsm.JobQueued, 7))
	if events, lost := sub.Take(nil); lost || !slices.Equal(jobsOf(events), []fsm.JobID{7}) {
		t.Errorf("afterwards: %v, lost %v", jobsOf(events), lost)
	}
	s.subs.lose()
	<-sub.Ready()
	if _, lost := sub.Take(nil); !lost {
		t.Error("a replaced state was not told")
	}
}
