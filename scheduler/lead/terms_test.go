package lead

import (
	"errors"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

// A new leader recognises what runs, and the job ends as if nothing had been.
func TestFailoverKeepsLeases(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 2))
	id := c.submit(&pb.JobSpec{})
	g := w.awaitGrant()
	c.leaveOffice()
	if err := w.awaitEnd(); !errors.Is(err, raftnode.ErrNotLeader) {
		t.Errorf("the session ended: %v", err)
	}
	if worker, _, _ := c.leader.Suggest("p", "ci", new(pb.JobSpec)); worker != "" {
		t.Errorf("out of office, %q was suggested", worker)
	}
	if err := c.dial(hello("w", 2), Caller{}).awaitEnd(); !errors.Is(err, raftnode.ErrNotLeader) {
		t.Errorf("a session with a former leader: %v", err)
	}

	c.takeOffice()
	h := hello("w", 2)
	h.HighestLease, h.Running = g.Lease, []*pb.RunningAttempt{{Lease: g.Lease}}
	w = c.connect(h)
	second := c.submit(&pb.JobSpec{})
	if g := w.awaitGrant(); g.Job != uint64(second) {
		t.Errorf("grant: %v", g)
	}
	w.idle()
	if a := w.finish(g.Lease, pb.OutcomeKind_OUTCOME_SUCCEEDED); !a.Recorded {
		t.Errorf("acknowledgement: %v", a)
	}
	c.awaitSettled(id, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	if n := len(c.job(id).Attempts); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// What a returning worker says, and what it is told about its one lease.
func TestReconcile(t *testing.T) {
	t.Run("it never got the grant", func(t *testing.T) {
		c, lease := leased(t)
		w := c.connect(hello("w", 1))
		if g := w.awaitGrant(); g.Lease != lease {
			t.Errorf("grant: %v", g)
		}
		w.idle()
	})
	t.Run("it recorded the lease and lost the process", func(t *testing.T) {
		c, lease := leased(t)
		h := hello("w", 1)
		h.HighestLease, h.BootId = lease, "boot-2"
		w := c.connect(h)
		w.idle()
		w.finish(lease, pb.OutcomeKind_OUTCOME_WORKER_RESTARTED)
		if g := w.awaitGrant(); g.Job != 1 || g.Attempt != 2 {
			t.Errorf("grant: %v", g)
		}
	})
	t.Run("it runs what it may", func(t *testing.T) {
		c, lease := leased(t)
		h := hello("w", 1)
		h.HighestLease, h.Running = lease, []*pb.RunningAttempt{{Lease: lease}}
		c.connect(h).idle()
	})
}

func TestReconcileStops(t *testing.T) {
	t.Run("it runs what was cancelled", func(t *testing.T) {
		c, lease := leased(t)
		c.do(&pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: 1, Reason: "no"}}})
		h := hello("w", 1)
		h.HighestLease, h.Running = lease, []*pb.RunningAttempt{{Lease: lease}}
		if s := c.connect(h).awaitStop(); s.Lease != lease || s.Reason != pb.StopReason_STOP_CANCELLED {
			t.Errorf("stop: %v", s)
		}
	})
	t.Run("it runs what is over", func(t *testing.T) {
		c, lease := leased(t)
		c.do(expireLease(fsm.LeaseID(lease), pb.OutcomeKind_OUTCOME_WORKER_LOST, "gone"))
		h := hello("w", 1)
		h.HighestLease, h.Running = lease, []*pb.RunningAttempt{{Lease: lease}}
		w := c.connect(h)
		if s := w.awaitStop(); s.Lease != lease || s.Reason != pb.StopReason_STOP_FENCED {
			t.Errorf("stop: %v", s)
		}
		if a := w.finish(lease, pb.OutcomeKind_OUTCOME_SUCCEEDED); a.Recorded || a.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_WORKER_LOST {
			t.Errorf("acknowledgement of a late result: %v", a)
		}
	})
}

// leased is a cluster whose worker w holds the lease of job 1, is disconnected,
// and will not be missed for an hour.
func leased(t *testing.T) (c *cluster, lease uint64) {
	c = newCluster(t, Config{LeaseTTL: time.Hour, Election: time.Millisecond, ReconnectMax: time.Millisecond})
	w := c.connect(hello("w", 1))
	id := c.submit(&pb.JobSpec{})
	lease = w.awaitGrant().Lease
	w.hangUp()
	if id != 1 {
		t.Fatalf("job %d", id)
	}
	return c, lease
}

// A worker that falls silent with its stream open gets no more jobs, then loses
// its leases; what it says later is refused.
func TestSilentWorker(t *testing.T) {
	c := newCluster(t, quick)
	frozen := c.connect(hello("frozen", 2))
	id := c.submit(&pb.JobSpec{})
	g := frozen.awaitGrant()
	frozen.freeze(true)
	c.eventually("the worker is silent", func() bool { return c.leader.Workers("p")[0].State == "silent" })
	waiting := c.submit(&pb.JobSpec{})
	c.round()
	if got := c.job(waiting).State; got != pb.JobState_JOB_STATE_QUEUED {
		t.Errorf("a silent worker was given a job: %v", got)
	}
	if err := frozen.awaitEnd(); err == nil || errors.Is(err, raftnode.ErrNotLeader) {
		t.Errorf("the session of a silent worker ended: %v", err)
	}
	other := c.connect(hello("other", 2))
	got := []uint64{other.awaitGrant().Job, other.awaitGrant().Job}
	if got[0]+got[1] != uint64(id+waiting) {
		t.Errorf("the other worker got %v", got)
	}
	first := c.job(id).Attempts[0]
	if held := time.Duration(first.Ended-first.Started) * time.Millisecond; held < quick.LeaseTTL {
		t.Errorf("the lease was over after %v, it holds for %v", held, quick.LeaseTTL)
	}
	h := hello("frozen", 2)
	h.HighestLease, h.Running = g.Lease, []*pb.RunningAttempt{{Lease: g.Lease}}
	back := c.connect(h)
	if s := back.awaitStop(); s.Lease != g.Lease || s.Reason != pb.StopReason_STOP_FENCED {
		t.Errorf("stop: %v", s)
	}
}

// A worker that is heard, but has lost a lease from its memory, does not keep the
// job for ever.
func TestOrphanedLease(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 1))
	id := c.submit(&pb.JobSpec{})
	lost := w.awaitGrant()
	w.running(func([]uint64) []uint64 { return nil })
	if s := w.awaitStop(); s.Lease != lost.Lease || s.Reason != pb.StopReason_STOP_FENCED {
		t.Errorf("stop: %v", s)
	}
	if g := w.awaitGrant(); g.Job != uint64(id) || g.Attempt != 2 {
		t.Errorf("grant: %v", g)
	}
}

// A worker that speaks and does not read is not kept.
func TestSlowWorker(t *testing.T) {
	c := newCluster(t, quick)
	w := c.newWorker(hello("w", 1), Caller{})
	w.down = make(chan *pb.NodeMessage) // nobody reads
	w.start()
	go w.beat()
	if err := w.awaitEnd(); !errors.Is(err, errSlow) {
		t.Errorf("the session ended: %v", err)
	}
}

// A short silence costs nothing.
func TestSilenceEnds(t *testing.T) {
	c := newCluster(t, Config{LeaseTTL: 3 * time.Second, Election: time.Millisecond, ReconnectMax: time.Millisecond})
	w := c.connect(hello("w", 1))
	w.freeze(true)
	c.eventually("the worker is silent", func() bool { return c.leader.Workers("p")[0].State == "silent" })
	w.freeze(false)
	c.eventually("the worker is heard", func() bool { return c.leader.Workers("p")[0].State == "ready" })
	id := c.submit(&pb.JobSpec{})
	if g := w.awaitGrant(); g.Job != uint64(id) {
		t.Errorf("grant: %v", g)
	}
}

// A worker that goes away takes nothing along: reserved jobs and leases go to
// others. A job that was to be cancelled ends as that.
func TestDeadWorker(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 2))
	kept, cancelled := c.submit(&pb.JobSpec{}), c.submit(&pb.JobSpec{})
	w.awaitGrant()
	w.awaitGrant()
	c.do(&pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(cancelled)}}})
	w.hangUp()
	c.awaitSettled(cancelled, pb.OutcomeKind_OUTCOME_CANCELLED)
	other := c.connect(hello("other", 1))
	if g := other.awaitGrant(); g.Job != uint64(kept) || g.Attempt != 2 {
		t.Errorf("grant: %v", g)
	}
}

// When many leases would be given up at once, the leader suspects itself first.
// There is no other node here, so it waits for one more time to live and then
// believes it.
func TestAllWorkersDead(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 3))
	for range 3 {
		c.submit(&pb.JobSpec{})
		w.awaitGrant()
	}
	w.hangUp()
	for id := range fsm.JobID(3) {
		c.eventually("the attempt is lost", func() bool { return c.job(id + 1).Attempts[0].Ended != 0 })
		a := c.job(id + 1).Attempts[0]
		if held := time.Duration(a.Ended-a.Started) * time.Millisecond; held < 2*quick.LeaseTTL {
			t.Errorf("job %d: the lease was over after %v, before the second time to live was", id+1, held)
		}
	}
}

// A leader that lost events asks every worker to come again, and knows all then.
func TestReload(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 2))
	c.submit(&pb.JobSpec{})
	g := w.awaitGrant()
	c.round()
	c.term().reload()
	if err := w.awaitEnd(); err == nil {
		t.Error("the session goes on")
	}
	h := hello("w", 2)
	h.HighestLease, h.Running = g.Lease, []*pb.RunningAttempt{{Lease: g.Lease}}
	w = c.connect(h)
	second, third := c.submit(&pb.JobSpec{}), c.submit(&pb.JobSpec{})
	if g := w.awaitGrant(); g.Job != uint64(second) {
		t.Errorf("grant: %v", g)
	}
	w.idle()
	if got := c.job(third).State; got != pb.JobState_JOB_STATE_QUEUED {
		t.Errorf("the third job of a worker with two slots is %v", got)
	}
}

// Finished jobs go when their pool does not keep them any longer.
func TestRetention(t *testing.T) {
	c := newCluster(t, quick)
	c.do(&pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: "p", Config: &pb.PoolConfig{KeepJobs: 2}}}})
	w := c.connect(hello("w", 8))
	for range 5 {
		c.submit(&pb.JobSpec{})
		w.finish(w.awaitGrant().Lease, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	}
	term := c.term()
	if pause := term.trim(t.Context()); pause != trimEvery {
		t.Errorf("nothing settled ten minutes ago, and yet the next trim is in %v", pause)
	}
	c.passTime(11 * time.Minute)
	c.eventually("trimming", func() bool { return term.trim(t.Context()) == trimEvery })
	c.store.View(func(s *fsm.State) {
		if p, _ := s.Pool("p"); p.Settled != 2 {
			t.Errorf("%d finished jobs are kept, want 2", p.Settled)
		}
		if _, err := s.Job(1); !is(err, fsm.Expired) {
			t.Errorf("the oldest job: %v", err)
		}
	})
}
