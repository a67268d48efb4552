package clustertest

import (
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler"
)

// nodesOf names every node, for cuts.
func nodesOf(c *Cluster) []string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.Name)
	}
	return all
}

// jobAt reads a job from the leader's own state.
func jobAt(c *Cluster, id uint64) *fsm.Job {
	c.t.Helper()
	var job *fsm.Job
	c.Leader().Server.Store().View(func(st *fsm.State) {
		found, err := st.Job(fsm.JobID(id))
		c.must(err)
		job = found
	})
	return job
}

// leastHold is how long leases hold at least once all workers are silent: two times
// to live of the local profile, but for the heartbeat that may have been due.
const leastHold = 2*4*time.Second - 1200*time.Millisecond

// Every worker is silent past its leases' time to live: the leader suspects
// itself first, hands its office over, and the leases hold for one more time to
// live. Then the jobs are lost and run again, and what the workers did meanwhile
// counts for nothing.
func TestAllWorkersFallSilent(t *testing.T) {
	c := Start(t, Options{})
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 2, builds)
	c.StartWorker(worker, "p", "w2", 2, builds)
	ci := c.NewClient("ci")
	ledger := c.NewLedger(builds)
	ctx := c.Context()
	var jobs []uint64
	for _, id := range []string{"a", "b", "c"} {
		job, err := ledger.Submit(ctx, c.Client(ci), submit("p", id, "hold", "gate"))
		c.must(err)
		jobs = append(jobs, job)
	}
	c.Wait("the jobs to run", func() bool { return len(builds.Started()) == 3 })
	before := c.Leader()
	cut := before.Server.Store().Now()
	c.Net.Split([]string{Outside}, nodesOf(c))
	c.Wait("another node to lead", func() bool { return c.Leader() != before })
	if !strings.Contains(c.Log(), "many workers fell silent at once") {
		t.Error("the leader changed, and not for the silence of the workers")
	}
	for _, job := range jobs {
		c.Wait("the lease to be lost", func() bool {
			return jobAt(c, job).Attempts[0].Outcome.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_LOST
		})
		held := time.Duration(jobAt(c, job).Attempts[0].Ended-cut) * time.Millisecond
		if held < leastHold {
			t.Errorf("job %d: the lease was given up %v after the cut, want at least %v", job, held, leastHold)
		}
	}
	c.Net.Heal()
	c.Wait("the jobs to run again", func() bool { return len(builds.Started()) == 6 })
	builds.Release("gate")
	ledger.Verify(c.Admin)
	for _, job := range jobs {
		if j := jobAt(c, job); len(j.Attempts) != 2 || j.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("job %d: %d attempts, %v", job, len(j.Attempts), j.Outcome)
		}
	}
}

// A cut of five seconds between all workers and all nodes restarts nothing, with
// the default settings.
func TestShortCutRestartsNothing(t *testing.T) {
	c := Start(t, Options{Change: func(c *scheduler.Config) { c.Profile = "default" }})
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 4, builds)
	ci := c.NewClient("ci")
	ledger := c.NewLedger(builds)
	ctx := c.Context()
	for _, id := range []string{"a", "b", "c"} {
		_, err := ledger.Submit(ctx, c.Client(ci), submit("p", id, "hold", "gate"))
		c.must(err)
	}
	c.Wait("the jobs to run", func() bool { return len(builds.Started()) == 3 })
	c.Net.Split([]string{Outside}, nodesOf(c))
	<-time.After(5 * time.Second) // the cut that is promised to be harmless
	c.Net.Heal()
	builds.Release("gate")
	ledger.Verify(c.Admin)
	ledger.onlyAttempts()
}

// A worker that is killed and comes back gives its attempts up at once.
func TestWorkerRestarts(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	first := c.StartWorker(worker, "p", "w1", 1, builds)
	ci := c.NewClient("ci")
	ledger := c.NewLedger(builds)
	job, err := ledger.Submit(c.Context(), c.Client(ci), submit("p", "a", "hold", "gate"))
	c.must(err)
	c.Wait("the job to run", func() bool { return len(builds.Started()) == 1 })
	c.must(first.Stop())
	c.StartWorker(worker, "p", "w1", 1, builds)
	c.Wait("the job to run again", func() bool { return len(builds.Started()) == 2 })
	builds.Release("gate")
	ledger.Verify(c.Admin)
	if j := jobAt(c, job); len(j.Attempts) != 2 || j.Attempts[0].Outcome.GetKind() != pb.OutcomeKind_OUTCOME_WORKER_ERROR {
		t.Errorf("the job's attempts: %v", j.Attempts)
	}
}
