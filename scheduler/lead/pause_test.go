package lead

import (
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func (c *cluster) pause(worker, why string) {
	c.t.Helper()
	c.do(&pb.Command{Op: &pb.Command_PauseWorkers{PauseWorkers: &pb.PauseWorkers{Pool: "p", Names: []string{worker}, Reason: why}}})
}

func (c *cluster) resume(worker string) {
	c.t.Helper()
	c.do(&pb.Command{Op: &pb.Command_PauseWorkers{PauseWorkers: &pb.PauseWorkers{Pool: "p", Names: []string{worker}, Resume: true}}})
}

func (c *cluster) pausePool(resume bool) {
	c.t.Helper()
	c.do(&pb.Command{Op: &pb.Command_PausePool{PausePool: &pb.PausePool{Name: "p", Resume: resume, Reason: "moving house"}}})
	c.round()
}

// A worker that an operator has paused goes on with what it runs, and gets nothing
// new: not when it connects again, and not from the next leader.
func TestAPausedWorkerStaysPaused(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 2))
	runs := c.submit(&pb.JobSpec{})
	g := w.awaitGrant()
	c.pause("w", "new disk")
	waits := c.submit(&pb.JobSpec{})
	idle := func(w *worker, when string) {
		t.Helper()
		c.round()
		if worker, _, release := c.leader.Suggest("p", "ci", &pb.JobSpec{}); worker != "" {
			t.Errorf("%s: a job would ride to %q", when, worker)
		} else {
			release(false)
		}
		if _, why, _, err := c.leader.Explain(waits); err != nil || why != `the only worker that fits, "w", is paused by an operator: new disk` {
			t.Errorf("%s: explained as %q, %v", when, why, err)
		}
		if shown := c.leader.Workers("p")[0]; shown.State != "paused" || shown.Pause.GetReason() != "new disk" {
			t.Errorf("%s: shown as %v", when, shown)
		}
		if c.job(waits).State != pb.JobState_JOB_STATE_QUEUED {
			t.Errorf("%s: it was granted", when)
		}
	}
	idle(w, "after the order")
	w.finish(g.Lease, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	c.awaitSettled(runs, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	idle(w, "when it has nothing to do")
	w.hangUp()
	w = c.connect(hello("w", 2))
	idle(w, "after it connected again")
	c.leaveOffice()
	<-c.over
	c.takeOffice()
	w = c.connect(hello("w", 2))
	idle(w, "under the next leader")
	c.resume("w")
	if g := w.awaitGrant(); g.Job != uint64(waits) {
		t.Errorf("granted job %d, want %d", g.Job, waits)
	}
}

// Of a paused pool nothing starts, on whatever worker; jobs are accepted.
func TestAPausedPoolStartsNothing(t *testing.T) {
	c := newCluster(t, quick)
	c.pausePool(false)
	w := c.connect(hello("w", 2))
	var jobs []fsm.JobID
	for range 2 {
		jobs = append(jobs, c.submit(&pb.JobSpec{}))
	}
	c.round()
	if _, why, _, err := c.leader.Explain(jobs[0]); err != nil || why != "its pool is paused by an operator: moving house" {
		t.Errorf("explained as %q, %v", why, err)
	}
	for _, id := range jobs {
		if c.job(id).State != pb.JobState_JOB_STATE_QUEUED {
			t.Errorf("job %d was granted", id)
		}
	}
	c.pausePool(true)
	for range jobs {
		w.awaitGrant()
	}
}

// A job that is taken off its worker starts elsewhere, and the worker is told to
// kill it.
func TestAnEvictedJobStartsElsewhere(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 1))
	id := c.submit(&pb.JobSpec{})
	g := w.awaitGrant()
	c.pause("w", "")
	c.do(expireLease(fsm.LeaseID(g.Lease), pb.OutcomeKind_OUTCOME_EVICTED, "new disk"))
	if stop := w.awaitStop(); stop.Lease != g.Lease || stop.Reason != pb.StopReason_STOP_FENCED {
		t.Errorf("the worker was told %v", stop)
	}
	other := c.connect(hello("other", 1))
	if g := other.awaitGrant(); g.Job != uint64(id) || g.Attempt != 2 {
		t.Errorf("granted %v", g)
	}
	if j := c.job(id); j.Failures != 0 {
		t.Errorf("%d attempts count as failed", j.Failures)
	}
}
