package clustertest

import (
	"context"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// loseReplies lets requests from outside reach the nodes, and nothing come back.
func loseReplies(c *Cluster) {
	for _, n := range c.Nodes {
		c.Net.Cut(n.Name, Outside)
	}
}

// crashLeader kills the leader with all that it and the others have not said, and
// starts it again once another one leads.
func crashLeader(c *Cluster) {
	c.t.Helper()
	old := c.Leader()
	old.Crash()
	for _, n := range c.Nodes {
		n.proxy.breakAll()
	}
	c.Net.Heal()
	c.Leader()
	old.Start()
}

// newest returns the job that was submitted last.
func newest(c *Cluster) (id uint64) {
	c.Leader().Server.Store().View(func(st *fsm.State) { id = uint64(st.LastJob()) })
	return id
}

// The leader applies a submit and dies before it answers: the client asks again
// under the same request key and gets the job that was made.
func TestLeaderDiesBetweenSubmitAndReply(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", nil)
	cl := c.Client(c.NewClient("ci"))
	ctx := c.Context()
	first, err := cl.Submit(ctx, submit("p", "before", "ok", "1")) // from here on it is connected
	c.must(err)

	loseReplies(c)
	var reply *pb.SubmitReply
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		reply, err = cl.Submit(ctx, submit("p", "lost", "ok", "1"))
		return err
	})
	c.Wait("the job to be made", func() bool { return newest(c) == first.Job+1 })
	crashLeader(c)
	c.must(g.Wait())
	if reply.Job != first.Job+1 || newest(c) != reply.Job {
		t.Errorf("the submit was answered with job %d, the newest is %d, the one before was %d", reply.Job, newest(c), first.Job)
	}
	if got := jobAt(c, reply.Job).State; got != pb.JobState_JOB_STATE_QUEUED {
		t.Errorf("the job is %v", got)
	}
	c.CheckStates()
}

// The leader applies the end of an attempt and dies before it says so: the worker
// reports it again and is answered, and the job has settled once.
func TestLeaderDiesBetweenFinishAndReply(t *testing.T) {
	c := Start(t, Options{})
	builds := NewBuilds()
	w := c.StartWorker(c.NewPool("p", nil), "p", "w1", 1, builds)
	ledger := c.NewLedger(builds)
	job, err := ledger.Submit(c.Context(), c.Client(c.NewClient("ci")), submit("p", "a", "hold", "gate"))
	c.must(err)
	c.Wait("the job to run", func() bool { return len(builds.Started()) == 1 })

	loseReplies(c)
	builds.Release("gate")
	c.Wait("the attempt's end to be applied", func() bool { return jobAt(c, job).State == pb.JobState_JOB_STATE_SETTLED })
	before := jobAt(c, job)
	crashLeader(c)
	ledger.Verify(c.Admin)
	w.Drain()
	c.must(drained(c.Context(), w)) // only once each end is acknowledged
	after := jobAt(c, job)
	if len(after.Attempts) != 1 || after.Settled != before.Settled || after.Attempts[0].Ended != before.Attempts[0].Ended ||
		after.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("the job was %+v and is %+v", before, after)
	}
}

// drained waits for a worker that drains.
func drained(ctx context.Context, w *Worker) error {
	ended := make(chan error, 1)
	go func() { ended <- w.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
