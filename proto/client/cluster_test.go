package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/clustertest"
)

// silentFollower counts bytes and tells of nothing.
type silentFollower struct{ bytes atomic.Int64 }

func (f *silentFollower) Event(*pb.JobEvent) error { return nil }

func (f *silentFollower) Log(d *pb.LogData) error {
	f.bytes.Add(int64(len(d.Data)))
	return nil
}

// More builds than the pipe holds all end, with their logs, through the leader's
// death, and the cluster never has more than the pipe's bound of them.
func TestBuildsThroughAPipe(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	builds := clustertest.NewBuilds()
	c.StartWorker(c.NewPool("p", &pb.PoolConfig{}), "p", "w1", 8, builds)
	cl := c.Client(c.NewClient("ci", "p"))
	reg := prometheus.NewRegistry()
	const inPipe, all = 3, 24
	pipe := client.NewBuilds(cl, client.BuildsOptions{InPipe: inPipe, Registerer: reg})
	var most atomic.Int64
	var kill sync.Once
	g, ctx := errgroup.WithContext(t.Context())
	for i := range all {
		g.Go(func() error {
			var f silentFollower
			job, err := pipe.Run(ctx, &pb.SubmitRequest{Pool: "p", Spec: clustertest.Job("ok", fmt.Sprint(i))}, eventually{&f, func() {
				count(t, cl, &most)
				if i == all/2 {
					kill.Do(func() { c.Leader().Stop() })
				}
			}})
			if err == nil && (job.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || f.bytes.Load() == 0) {
				err = fmt.Errorf("build %d: %v, %d bytes of log", i, job.Outcome, f.bytes.Load())
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n == 0 || n > inPipe {
		t.Errorf("%d jobs were with the cluster at a time, want 1 to %d", n, inPipe)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if m := f.Metric[0]; f.GetName() == "weir_client_build_seconds" && m.Histogram.GetSampleCount() != all ||
			f.GetName() != "weir_client_build_seconds" && m.Gauge.GetValue() != 0 {
			t.Errorf("%s at the end: %v", f.GetName(), m)
		}
	}
	if len(families) != 3 {
		t.Errorf("%d metrics", len(families))
	}
}

// count notes how many jobs the cluster has that are not settled.
func count(t *testing.T, cl *client.Client, most *atomic.Int64) {
	list, err := cl.Jobs().ListJobs(t.Context(), &pb.ListJobsRequest{Pool: "p"})
	if err != nil {
		return // there is no leader just now
	}
	n := int64(0)
	for _, j := range list.Jobs {
		if j.State != pb.JobState_JOB_STATE_SETTLED {
			n++
		}
	}
	for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
	}
}

// eventually does something once, at the first event.
type eventually struct {
	client.Follower
	do func()
}

func (e eventually) Event(ev *pb.JobEvent) error {
	if ev.Job.State != pb.JobState_JOB_STATE_SETTLED {
		e.do()
	}
	return e.Follower.Event(ev)
}

// A caller that gives up leaves no job behind, whether it waits, runs or is not
// submitted yet.
func TestBuildsAreCancelledByTheirContext(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	builds := clustertest.NewBuilds()
	c.StartWorker(c.NewPool("p", &pb.PoolConfig{}), "p", "w1", 1, builds)
	cl := c.Client(c.NewClient("ci", "p"))
	pipe := client.NewBuilds(cl, client.BuildsOptions{InPipe: 2})
	ctx, giveUp := context.WithCancelCause(t.Context())
	reason := fmt.Errorf("the commit was replaced by another")
	ended := make(chan error, 3)
	for range cap(ended) { // one runs, one waits in the cluster, one in the pipe
		go func() {
			_, err := pipe.Run(ctx, &pb.SubmitRequest{Pool: "p", Spec: clustertest.Job("hold", "x")}, new(silentFollower))
			ended <- err
		}()
	}
	states := func() (running, queued int) {
		list, err := cl.Jobs().ListJobs(t.Context(), &pb.ListJobsRequest{Pool: "p"})
		if err != nil {
			return 0, 0
		}
		for _, j := range list.Jobs {
			switch j.State {
			case pb.JobState_JOB_STATE_RUNNING:
				running++
			case pb.JobState_JOB_STATE_QUEUED:
				queued++
			}
		}
		return running, queued
	}
	c.Wait("one to run and one to wait", func() bool { r, q := states(); return r == 1 && q == 1 })
	giveUp(reason)
	for range cap(ended) {
		if err := <-ended; err == nil || !errors.Is(err, reason) {
			t.Errorf("a build that was given up: %v", err)
		}
	}
	c.Wait("no job to be left", func() bool { r, q := states(); return r+q == 0 })
}
