package lead_test

import (
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler"
	"github.com/weirbuild/weir/scheduler/clustertest"
)

// No worker is heard any more. The leader suspects itself and hands its office
// over; the next one hears nothing either, waits, and believes it. When the
// network is back the old builds die before they can report, and each job is
// done by a second attempt.
func TestNoWorkerIsHeard(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Change: func(cfg *scheduler.Config) { cfg.Profile = "default" }})
	builds := clustertest.NewBuilds()
	c.StartWorker(c.NewPool("p", &pb.PoolConfig{LeaseTtlMs: 4500}), "p", "w", 3, builds)
	ctx, ci := c.Context(), c.Client(c.NewClient("ci"))
	ledger := c.NewLedger(builds)
	for _, key := range []string{"a", "b", "c"} {
		_, err := ledger.Submit(ctx, ci, &pb.SubmitRequest{
			Pool: "p", Spec: clustertest.Job("hold", "gate"), Key: &pb.RequestKey{Id: key, CreatedMs: time.Now().UnixMilli()},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Wait("the builds to start", func() bool { return len(builds.Started()) == 3 })

	office := func() uint64 { return c.Leader().Server.Store().Node().Status().Term }
	term := office()
	for _, n := range c.Nodes {
		c.Net.Cut(clustertest.Outside, n.Name)
		c.Net.Cut(n.Name, clustertest.Outside)
	}
	// On a crowded machine the election after the transfer may give the office
	// back to the node that had it: a new term all the same.
	c.Wait("another term of office", func() bool { return office() > term })
	lost := func() int { return lostAttempts(c.Leader()) }
	if lost() != 0 {
		t.Error("leases were given up before another node has tried")
	}
	c.Wait("the leases to be given up", func() bool { return lost() == 3 })
	c.Net.Heal()
	builds.Release("gate")
	ledger.Verify(c.Admin)
	c.Leader().Server.Store().View(func(s *fsm.State) {
		for j := range s.AllJobs() {
			if len(j.Attempts) != 2 {
				t.Errorf("job %d took %d attempts", j.ID, len(j.Attempts))
			}
		}
	})
}

// lostAttempts counts the first attempts whose worker was given up.
func lostAttempts(n *clustertest.Node) (lost int) {
	n.Server.Store().View(func(s *fsm.State) {
		for j := range s.AllJobs() {
			if a, ok := j.Attempt(1); ok && a.Outcome.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_LOST {
				lost++
			}
		}
	})
	return lost
}
