package api

import (
	"errors"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

func woken(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestEventsWakeTheirOwnWatchers(t *testing.T) {
	w := newWatches()
	one, two := w.watchJob(1), w.watchJob(2)
	w.tell([]fsm.Event{{Kind: fsm.LeaseGranted, Job: 1, Pool: "p"}})
	if !woken(one.wake) || woken(two.wake) {
		t.Error("want the watcher of job 1 woken, and no other")
	}
	w.forgetJob(one)
	w.tell([]fsm.Event{{Kind: fsm.JobSettled, Job: 1, Pool: "p"}})
	if woken(one.wake) {
		t.Error("a forgotten watcher was woken")
	}
	w.lost()
	if !woken(two.wake) {
		t.Error("lost events do not wake a watcher")
	}
}

func TestWaitingWatchersHearOfTheirPool(t *testing.T) {
	w := newWatches()
	here, there := w.watchJob(1), w.watchJob(2)
	w.waits(here, "p", true)
	w.waits(there, "q", true)
	if !woken(w.some) {
		t.Error("the refresher was not told that somebody waits")
	}
	w.tell([]fsm.Event{{Kind: fsm.LeaseGranted, Job: 9, Pool: "p"}})
	if woken(here.wake) {
		t.Error("another job's event woke the watcher at once: it should be paced")
	}
	if !w.refresh() || !woken(here.wake) || woken(there.wake) {
		t.Error("want the watcher in pool p woken by the refresh, and no other")
	}
	w.refresh()
	if woken(here.wake) {
		t.Error("nothing has happened, and the watcher was woken")
	}
	for range fullRefresh {
		w.refresh()
	}
	if !woken(here.wake) || !woken(there.wake) {
		t.Error("the full refresh is missing")
	}
	w.waits(here, "p", false)
	w.forgetJob(there)
	if w.refresh() {
		t.Error("nobody waits, and the refresher goes on")
	}
	if len(w.waiting) != 0 || len(w.dirty) != 0 {
		t.Error("something is left")
	}
}

func TestSettledWatchersGetTheirOwn(t *testing.T) {
	w := newWatches()
	ci := w.watchSettled(auth.Identity{Kind: auth.Submit, Client: "ci"})
	limited := w.watchSettled(auth.Identity{Kind: auth.Submit, Client: "ci", Pools: []string{"q"}})
	all := w.watchSettled(auth.Identity{Kind: auth.Admin})
	settled := func(job fsm.JobID, client, pool string) fsm.Event {
		return fsm.Event{Kind: fsm.JobSettled, Job: job, Client: client, Pool: pool, Outcome: pb.OutcomeKind_OUTCOME_FAILED}
	}
	w.tell([]fsm.Event{settled(1, "ci", "p"), settled(2, "other", "p"), settled(3, "ci", "q"), {Kind: fsm.JobQueued, Job: 4, Client: "ci", Pool: "p"}})
	for name, c := range map[string]struct {
		watch *settledWatch
		want  []uint64
	}{"ci": {ci, []uint64{1, 3}}, "ci in q": {limited, []uint64{3}}, "all": {all, []uint64{1, 2, 3}}} {
		got, err := c.watch.take()
		if err != nil || len(got.Jobs) != len(c.want) || len(got.Outcomes) != len(c.want) {
			t.Fatalf("%s: %v, %v", name, got, err)
		}
		for i := range c.want {
			if got.Jobs[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", name, got.Jobs, c.want)
			}
		}
	}
	w.forgetSettled(limited)
	w.lost()
	if _, err := ci.take(); !full(err) {
		t.Errorf("lost events: %v, want full", err)
	}
	if _, err := limited.take(); err != nil {
		t.Error("a forgotten watcher was told")
	}
}

func TestASlowSettledWatcherIsTold(t *testing.T) {
	w := newWatches()
	slow := w.watchSettled(auth.Identity{Kind: auth.Admin})
	batch := make([]fsm.Event, maxSettled+1)
	for i := range batch {
		batch[i] = fsm.Event{Kind: fsm.JobSettled, Job: fsm.JobID(i + 1), Client: "ci", Pool: "p"}
	}
	w.tell(batch)
	if _, err := slow.take(); !full(err) {
		t.Errorf("have %v, want full", err)
	}
}

func full(err error) bool {
	r, ok := errors.AsType[*fsm.Refusal](err)
	return ok && r.Kind == fsm.Full
}
