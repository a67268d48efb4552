package client_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/clustertest"
)

// A build is submitted, followed through whatever happens to the cluster, and
// its log printed.
func ExampleClient_Follow() {
	weir, stop := exampleCluster() // in your program: client.New with a submit capability
	defer stop()
	ctx := context.Background()
	reply, err := weir.Submit(ctx, &pb.SubmitRequest{Pool: "linux", Spec: clustertest.Job("ok", "0")})
	if err != nil {
		fmt.Println("not submitted:", client.Message(err))
		return
	}
	job, err := weir.Follow(ctx, &pb.WatchRequest{Id: reply.Job}, printer{})
	if err != nil {
		fmt.Println("not followed:", client.Message(err))
		return
	}
	fmt.Println("job", job.Id, job.Outcome.Kind)
	// Output:
	// Building on w1
	// job 1 attempt 1
	// Job succeeded
	// job 1 OUTCOME_SUCCEEDED
}

// A program with many builds keeps a bound on those in the cluster, and needs
// one call for each.
func ExampleBuilds_Run() {
	weir, stop := exampleCluster()
	defer stop()
	builds := client.NewBuilds(weir, client.BuildsOptions{InPipe: 50})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // its end cancels the build
	defer cancel()
	job, err := builds.Run(ctx, &pb.SubmitRequest{Pool: "linux", Spec: clustertest.Job("fail", "7")}, printer{})
	if err != nil {
		fmt.Println("no result:", client.Message(err))
		return
	}
	fmt.Println(job.Outcome.Kind, job.Outcome.ExitCode)
	// Output:
	// Building on w1
	// job 1 attempt 1
	// Job failed
	// OUTCOME_FAILED 7
}

// printer is a client.Follower that prints the log.
type printer struct{}

func (printer) Event(*pb.JobEvent) error { return nil }

func (printer) Log(d *pb.LogData) error {
	_, err := os.Stdout.Write(d.Data)
	return err
}

// exampleCluster starts three nodes and a worker, and returns a client of theirs.
func exampleCluster() (weir *client.Client, stop func()) {
	t := &exampleTB{}
	c := clustertest.Start(t, clustertest.Options{})
	c.StartWorker(c.NewPool("linux", &pb.PoolConfig{}), "linux", "w1", 1, clustertest.NewBuilds())
	return c.Client(c.NewClient("ci", "linux")), t.end
}

// exampleTB is what a cluster needs of a test, for examples, which have none.
type exampleTB struct {
	testing.TB
	cleanups []func()
	failed   bool
}

func (t *exampleTB) Helper()                  {}
func (t *exampleTB) Context() context.Context { return context.Background() }
func (t *exampleTB) Failed() bool             { return t.failed }
func (t *exampleTB) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Logf(string, ...any)      {}

func (t *exampleTB) Errorf(format string, args ...any) {
	t.failed = true
	fmt.Printf(format+"\n", args...)
}

func (t *exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }

func (t *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "weir-example-")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (t *exampleTB) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}
