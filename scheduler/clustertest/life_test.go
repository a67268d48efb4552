package clustertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// key is a request key that a test can repeat.
func key(id string) *pb.RequestKey {
	return &pb.RequestKey{Id: id, CreatedMs: time.Now().UnixMilli()}
}

func submit(pool, id string, args ...string) *pb.SubmitRequest {
	return &pb.SubmitRequest{Pool: pool, Spec: Job(args...), Key: key(id)}
}

// settled watches a job to its end.
func settled(ctx context.Context, cl *client.Client, job uint64) (*pb.Job, error) {
	var last *pb.Job
	err := cl.Watch(ctx, &pb.WatchRequest{Id: job}, func(e *pb.JobEvent) error { last = e.Job; return nil })
	return last, err
}

func TestOneNode(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	worker := c.NewPool("p", nil)
	ci := c.Client(c.NewClient("ci"))
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 2, builds)
	ledger := c.NewLedger(builds)
	ctx := c.Context()

	ok, err := ledger.Submit(ctx, ci, submit("p", "k1", "ok", "3000"))
	c.must(err)
	job, err := settled(ctx, ci, ok)
	c.must(err)
	if job.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(job.Attempts) != 1 {
		t.Errorf("job %d: %v", ok, job)
	}
	bad, err := ledger.Submit(ctx, ci, submit("p", "k2", "fail", "7"))
	c.must(err)
	if job, err = settled(ctx, ci, bad); err != nil || job.Outcome.ExitCode != 7 {
		t.Errorf("job %d: %v, %v", bad, job, err)
	}
	again, err := ledger.Submit(ctx, ci, submit("p", "k1", "ok", "3000"))
	c.must(err)
	if again != ok {
		t.Errorf("the same key made jobs %d and %d", ok, again)
	}
	if _, err := ci.Submit(ctx, submit("p", "k1", "ok", "4000")); client.Reason(err) != reason.Conflict {
		t.Errorf("the same key for another job: %v", err)
	}
	ledger.Verify(c.Admin)
}

// Whatever a client asks, it may ask any node.
func TestFollowersAnswerEverything(t *testing.T) {
	c := Start(t, Options{})
	builds := NewBuilds()
	worker := c.NewPool("p", nil)
	ledger := c.NewLedger(builds)
	ctx := c.Context()
	follower := c.Followers()[0]
	admin := c.Client(c.Admin, follower)

	// A capability that is used at once, where it may not have arrived yet.
	ci := c.Client(c.NewClient("ci", "p"), follower)
	waiting, err := ledger.Submit(ctx, ci, submit("p", "k1", "hold", "gate"))
	c.must(err)
	why, err := ci.Jobs().Explain(ctx, &pb.ExplainRequest{Id: waiting})
	c.must(err)
	if !strings.Contains(why.Why, "no worker") {
		t.Errorf("a job without workers waits because: %q", why.Why)
	}
	c.StartWorker(worker, "p", "w1", 2, builds)
	c.Wait("the job to run", func() bool {
		job, err := ci.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: waiting})
		c.must(err)
		return job.State == pb.JobState_JOB_STATE_RUNNING
	})
	list, err := ci.Jobs().ListJobs(ctx, &pb.ListJobsRequest{})
	c.must(err)
	if len(list.Jobs) != 1 || list.Jobs[0].Id != waiting || list.Jobs[0].Spec != nil {
		t.Errorf("listed %v", list.Jobs)
	}
	pools, err := admin.Admin().ListPools(ctx, &pb.ListPoolsRequest{})
	c.must(err)
	if len(pools.Pools) != 1 || pools.Pools[0].WorkersConnected != 1 || pools.Pools[0].Running != 1 || pools.Pools[0].FreeSlots != 1 {
		t.Errorf("pools %v", pools.Pools)
	}
	workers, err := admin.Admin().ListWorkers(ctx, &pb.ListWorkersRequest{Pool: "p"})
	c.must(err)
	if len(workers.Workers) != 1 || !workers.Workers[0].Connected || workers.Workers[0].State != "ready" {
		t.Errorf("workers %v", workers.Workers)
	}
	members, err := admin.Members().ListMembers(ctx, &pb.ListMembersRequest{})
	c.must(err)
	if len(members.Members) != 3 {
		t.Errorf("members %v", members.Members)
	}

	// Reading a log at the follower sees new bytes as they come.
	read, err := ci.Jobs().ReadLog(ctx, &pb.ReadLogRequest{Job: waiting, Follow: true})
	c.must(err)
	text := ""
	for !strings.Contains(text, "attempt 1\n") {
		d, err := read.Recv()
		c.must(err)
		text += string(d.Data)
	}
	builds.Release("gate")
	for {
		d, err := read.Recv()
		c.must(err)
		text += string(d.Data)
		if d.Complete {
			break
		}
	}
	if !strings.Contains(text, "released\n") {
		t.Errorf("the log is %q", text)
	}
	job, err := settled(ctx, ci, waiting)
	c.must(err)
	if job.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("job %v", job)
	}
	ledger.Verify(c.Admin)
}

// A job is cancelled while it waits, while it is in back-off and while it runs; a
// settled one is not touched. With its worker dead: see cli/processtest.
func TestCancelInEveryState(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	worker := c.NewPool("p", &pb.PoolConfig{BackoffMs: time.Hour.Milliseconds()})
	ci := c.Client(c.NewClient("ci"))
	ctx := c.Context()
	builds := NewBuilds()
	begin := func(key string, args ...string) uint64 {
		r, err := ci.Submit(ctx, submit("p", key, args...))
		c.must(err)
		return r.Job
	}
	job := func(id uint64) *pb.Job {
		j, err := ci.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: id})
		c.must(err)
		return j
	}
	cancel := func(id uint64) error {
		_, err := ci.Jobs().Cancel(ctx, &pb.CancelRequest{Id: id, Reason: "not needed"})
		return err
	}
	isCancelled := func(what string, id uint64, attempts int) {
		t.Helper()
		j, err := settled(ctx, ci, id)
		c.must(err)
		if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_CANCELLED || len(j.Attempts) != attempts {
			t.Errorf("%s that was cancelled: %v", what, j)
		}
		c.must(cancel(id)) // again: the same answer
	}

	queued := begin("k1", "ok", "1")
	c.must(cancel(queued))
	isCancelled("a queued job", queued, 0)

	c.StartWorker(worker, "p", "w1", 1, builds)
	running := begin("k2", "hold", "for ever")
	c.Wait("the job to run", func() bool { return len(builds.Started()) == 1 })
	c.must(cancel(running))
	isCancelled("a running job", running, 1)

	resting := begin("k3", "no such verb", "") // the worker's fault: it is to be tried again
	c.Wait("the job to be in back-off", func() bool { return job(resting).State == pb.JobState_JOB_STATE_BACKOFF })
	c.must(cancel(resting))
	isCancelled("a job in back-off", resting, 1)

	over := begin("k4", "ok", "1")
	before, err := settled(ctx, ci, over)
	c.must(err)
	if err := cancel(over); client.Reason(err) != reason.Refused || !strings.Contains(err.Error(), "it ended as succeeded") {
		t.Errorf("a settled job that is cancelled: %v", err)
	}
	if after := job(over); after.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || after.SettledMs != before.SettledMs {
		t.Errorf("a settled job that was cancelled: %v, before %v", after, before)
	}

	if err := cancel(999); client.Reason(err) != reason.NotFound {
		t.Errorf("an unknown job that is cancelled: %v", err)
	}
	if n := len(builds.Started()); n != 3 {
		t.Errorf("%d attempts were started, want 3", n)
	}
}

// Many jobs over one stream: each is answered, refusals one by one. What a leader
// leaves unanswered is sent again.
func TestSubmitStream(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", nil)
	token := c.NewClient("ci")
	const jobs = 3000
	for name, n := range map[string]*Node{"leader": c.Leader(), "follower": c.Followers()[0]} {
		t.Run(name, func(t *testing.T) {
			open := map[uint64]*pb.SubmitRequest{}
			for i := range uint64(jobs) {
				req := submit("p", fmt.Sprint(name, i), "ok", "1")
				if req.Seq = i + 1; i%100 == 0 {
					req.Pool = "nowhere"
				}
				open[req.Seq] = req
			}
			made, refused := map[uint64]uint64{}, 0
			answer := func(r *pb.SubmitReply) {
				if r.Error.GetRetry() {
					return
				}
				delete(open, r.Seq)
				if r.Error == nil && made[r.Job] != 0 {
					t.Errorf("job %d answers %d and %d", r.Job, made[r.Job], r.Seq)
				}
				if r.Error == nil {
					made[r.Job] = r.Seq
					return
				}
				if refused++; r.Error.Kind != reason.NotFound || r.Seq%100 != 1 {
					t.Errorf("reply %v", r)
				}
			}
			cl := c.Client(token, n)
			c.Wait("every job to be answered", func() bool {
				if err := submitAll(c.Context(), cl, open, answer); err != nil {
					t.Logf("again, with %d jobs: %v", len(open), err)
				}
				return len(open) == 0
			})
			if len(made) != jobs-jobs/100 || refused != jobs/100 {
				t.Errorf("%d jobs and %d refusals of %d", len(made), refused, jobs)
			}
		})
	}
	c.CheckStates()
}

// submitAll sends requests over one stream and passes the replies on.
func submitAll(ctx context.Context, cl *client.Client, open map[uint64]*pb.SubmitRequest, answer func(*pb.SubmitReply)) error {
	s, err := cl.Jobs().SubmitStream(ctx)
	if err != nil {
		return err
	}
	requests := slices.Collect(maps.Values(open))
	var g errgroup.Group
	g.Go(func() error {
		for _, req := range requests {
			if err := s.Send(req); err != nil {
				return nil // Recv says why
			}
		}
		return s.CloseSend()
	})
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return g.Wait()
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		answer(r)
	}
}

func TestWatchSettled(t *testing.T) {
	c := Start(t, Options{})
	worker := c.NewPool("p", nil)
	mine, other := c.NewClient("mine"), c.NewClient("other")
	c.StartWorker(worker, "p", "w1", 4, NewBuilds())
	ctx := c.Context()
	watch, err := c.Client(mine, c.Followers()[0]).Jobs().WatchSettled(ctx, &pb.WatchSettledRequest{})
	c.must(err)
	_, err = watch.Header() // it has begun
	c.must(err)
	want := map[uint64]bool{}
	for i := range 5 {
		_, err := c.Client(other).Submit(ctx, submit("p", fmt.Sprint("o", i), "ok", "1"))
		c.must(err)
		r, err := c.Client(mine).Submit(ctx, submit("p", fmt.Sprint("m", i), "fail", "1"))
		c.must(err)
		want[r.Job] = true
	}
	for len(want) > 0 {
		got, err := watch.Recv()
		c.must(err)
		for i, id := range got.Jobs {
			if !want[id] || got.Outcomes[i] != pb.OutcomeKind_OUTCOME_FAILED {
				t.Errorf("settled: %d as %v", id, got.Outcomes[i])
			}
			delete(want, id)
		}
	}
}

// A page of jobs is cut by its size too.
func TestPagesOfJobs(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	c.NewPool("p", nil)
	ci := c.Client(c.NewClient("ci"))
	ctx := c.Context()
	for i := range 25 {
		_, err := ci.Submit(ctx, submit("p", fmt.Sprint(i), "ok", "1"))
		c.must(err)
	}
	var ids []fsm.JobID
	before := uint64(0)
	for {
		page, err := ci.Jobs().ListJobs(ctx, &pb.ListJobsRequest{Limit: 10, Before: before})
		c.must(err)
		for _, j := range page.Jobs {
			ids = append(ids, fsm.JobID(j.Id))
		}
		if before = page.NextBefore; before == 0 {
			break
		}
	}
	if len(ids) != 25 || ids[0] != 25 || ids[24] != 1 {
		t.Errorf("listed %v", ids)
	}
}
