package lead

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// The plain life of a job: it waits, is granted, ends, and its end is
// acknowledged as often as it is reported.
func TestLifecycle(t *testing.T) {
	c := newCluster(t, quick)
	spec := &pb.JobSpec{
		Kind:        &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"true"}}},
		TimeLimitMs: 5000, CacheHint: "h",
	}
	id := c.submit(spec)
	w := c.connect(hello("w", 1))
	if w.welcome.LeaseTtlMs != 1000 || w.welcome.HeartbeatMs != 200 || w.welcome.ReconnectMaxMs != 100 ||
		w.welcome.Leader != "n1" || len(w.welcome.Addresses) != 1 || w.welcome.ClusterId == "" || w.welcome.Session == "" {
		t.Errorf("welcome: %v", w.welcome)
	}
	g := w.awaitGrant()
	if g.Job != uint64(id) || g.Attempt != 1 || g.Pool != "p" || g.TimeLimitMs != 5000 || g.LogLimitBytes != 256<<20 || g.Cached ||
		string(g.Spec) != string(c.job(id).Spec) || g.Lease != uint64(c.job(id).Lease) {
		t.Errorf("grant: %v", g)
	}
	for range 2 {
		a := w.finish(g.Lease, pb.OutcomeKind_OUTCOME_SUCCEEDED)
		if a.Lease != g.Lease || !a.Recorded || a.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("acknowledgement: %v", a)
		}
	}
	c.awaitSettled(id, pb.OutcomeKind_OUTCOME_SUCCEEDED)

	second := c.submit(spec)
	if g := w.awaitGrant(); g.Job != uint64(second) || !g.Cached {
		t.Errorf("second grant: %v", g)
	}
}

// An outcome that no worker can report does not leave the job running for ever.
func TestOddOutcome(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 1))
	id := c.submit(&pb.JobSpec{})
	if a := w.finish(w.awaitGrant().Lease, pb.OutcomeKind_OUTCOME_WORKER_LOST); !a.Recorded || a.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_WORKER_ERROR {
		t.Errorf("acknowledgement: %v", a)
	}
	if g := w.awaitGrant(); g.Job != uint64(id) || g.Attempt != 2 {
		t.Errorf("next grant: %v", g)
	}
}

// A suggestion takes the slot until its submit is decided, then the lease does:
// it is never given twice.
func TestSuggestion(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 2))
	suggest := func() (string, func(bool)) {
		worker, _, release := c.leader.Suggest("p", "ci", new(pb.JobSpec))
		return worker, release
	}
	first, release := suggest()
	second, refused := suggest()
	third, none := suggest()
	if first != "w" || second != "w" || third != "" {
		t.Fatalf("suggestions: %q, %q, %q", first, second, third)
	}
	none(false)
	refused(false)
	id := c.do(submit(&pb.JobSpec{}, first)).Job
	release(true)
	if g := w.awaitGrant(); g.Job != uint64(id) {
		t.Errorf("grant: %v", g)
	}
	later := c.submit(&pb.JobSpec{})
	if g := w.awaitGrant(); g.Job != uint64(later) {
		t.Errorf("grant: %v", g)
	}
	if worker, release := suggest(); worker != "" {
		t.Errorf("suggested %q, whose slots are taken", worker)
	} else {
		release(false)
	}
	if worker, _, _ := c.leader.Suggest("no such pool", "ci", new(pb.JobSpec)); worker != "" {
		t.Errorf("suggested %q for a pool that is not there", worker)
	}
}

// A worker gets jobs while it says that it is ready, and at once when it does.
func TestStatus(t *testing.T) {
	c := newCluster(t, quick)
	h := hello("w", 1)
	h.Status = nil
	w := c.connect(h)
	id := c.submit(&pb.JobSpec{})
	why := func(want string) {
		t.Helper()
		w.idle()
		if _, why, _, err := c.leader.Explain(id); err != nil || !strings.Contains(why, want) {
			t.Errorf("why: %q, %v; want %q", why, err, want)
		}
	}
	why("has not said yet that it is ready")
	w.say(&pb.WorkerMessage{Status: &pb.WorkerStatus{Why: "the disk is full"}})
	why("is not ready: the disk is full")
	w.say(&pb.WorkerMessage{Status: &pb.WorkerStatus{Ready: true, Draining: true}})
	why("is draining")
	w.say(&pb.WorkerMessage{Status: ready()})
	if g := w.awaitGrant(); g.Job != uint64(id) {
		t.Errorf("grant: %v", g)
	}
}

func TestCancel(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 1))
	running, queued := c.submit(&pb.JobSpec{}), c.submit(&pb.JobSpec{})
	g := w.awaitGrant()
	cancel := func(id fsm.JobID) {
		c.do(&pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(id), Reason: "not needed"}}})
	}
	cancel(queued)
	cancel(running)
	if s := w.awaitStop(); s.Lease != g.Lease || s.Reason != pb.StopReason_STOP_CANCELLED || s.Message != "not needed" {
		t.Errorf("stop: %v", s)
	}
	c.awaitSettled(queued, pb.OutcomeKind_OUTCOME_CANCELLED)
	w.finish(g.Lease, pb.OutcomeKind_OUTCOME_CANCELLED)
	c.awaitSettled(running, pb.OutcomeKind_OUTCOME_CANCELLED)
	w.idle() // the queued one is not granted
}

// Work for several slots and labels goes where it fits.
func TestNeeds(t *testing.T) {
	c := newCluster(t, quick)
	small := c.connect(hello("small", 1))
	h := hello("large", 4)
	h.Labels = []*pb.Label{{Name: "os", Value: "linux"}, {Name: "arch", Value: "arm64"}}
	large := c.connect(h)
	wide := c.submit(&pb.JobSpec{Slots: 4})
	if g := large.awaitGrant(); g.Job != uint64(wide) {
		t.Errorf("grant: %v", g)
	}
	labelled := c.submit(&pb.JobSpec{Labels: []*pb.Label{{Name: "arch", Value: "arm64"}}})
	small.idle()
	if _, why, _, _ := c.leader.Explain(labelled); !strings.Contains(why, "4 of 4 slots taken") {
		t.Errorf("why: %q", why)
	}
	large.finish(uint64(c.job(wide).Lease), pb.OutcomeKind_OUTCOME_FAILED)
	if g := large.awaitGrant(); g.Job != uint64(labelled) {
		t.Errorf("grant: %v", g)
	}
	nowhere := c.submit(&pb.JobSpec{Labels: []*pb.Label{{Name: "os", Value: "plan9"}}})
	small.idle()
	if _, why, _, _ := c.leader.Explain(nowhere); why != "no connected worker of the pool has label os=plan9" {
		t.Errorf("why: %q", why)
	}
}

func TestExplain(t *testing.T) {
	c := newCluster(t, quick)
	id := c.submit(&pb.JobSpec{})
	next := c.submit(&pb.JobSpec{})
	explain := func(id fsm.JobID) string {
		ahead, why, details, err := c.leader.Explain(id)
		return fmt.Sprintf("%d: %s %v %v", ahead, why, details, err)
	}
	c.round()
	if got := explain(next); got != "1: no worker of the pool is connected [] <nil>" {
		t.Error(got)
	}
	w := c.connect(hello("w", 1))
	g := w.awaitGrant()
	if got := explain(id); got != "0: attempt 1 runs on worker w [] <nil>" {
		t.Error(got)
	}
	c.do(&pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: "p", Config: &pb.PoolConfig{BackoffMs: 3_600_000, MaxBackoffMs: 3_600_000}}}})
	w.finish(g.Lease, pb.OutcomeKind_OUTCOME_WORKER_ERROR)
	if got := explain(id); !strings.HasPrefix(got, "0: in back-off for another 59m59") && !strings.HasPrefix(got, "0: in back-off for another 1h") ||
		!strings.Contains(got, "then attempt 2 of 3: attempt 1 on worker w ended as worker error") {
		t.Error(got)
	}
	w.finish(w.awaitGrant().Lease, pb.OutcomeKind_OUTCOME_FAILED)
	if got := explain(next); got != "0: it is over: failed [] <nil>" {
		t.Error(got)
	}
	if _, _, _, err := c.leader.Explain(999); !is(err, fsm.NotFound) {
		t.Errorf("a job that never was: %v", err)
	}
}

// Nobody submits or finishes anything, and still a back-off ends in time.
func TestBackoffEnds(t *testing.T) {
	c := newCluster(t, quick)
	c.do(&pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: "p", Config: &pb.PoolConfig{BackoffMs: 300}}}})
	w := c.connect(hello("w", 1))
	id := c.submit(&pb.JobSpec{})
	first := w.awaitGrant()
	w.finish(first.Lease, pb.OutcomeKind_OUTCOME_WORKER_ERROR)
	g := w.awaitGrant()
	j := c.job(id)
	if g.Attempt != 2 || g.Lease == first.Lease {
		t.Errorf("grant: %v", g)
	}
	if wait := j.Attempts[1].Started - j.Attempts[0].Ended; wait < 300 {
		t.Errorf("the next attempt began after %d ms, the back-off is 300", wait)
	}
}
