// Command goclient submits a build from Go, follows its log through whatever
// happens to the cluster, and tells how it ended.
//
//	WEIR_CAPABILITY=submit.cap goclient POOL COMMAND [ARG...]
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: goclient POOL COMMAND [ARG...]")
		os.Exit(2)
	}
	if err := run(ctx, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", client.Message(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, pool string, argv []string) error {
	c, err := capability.From(os.Getenv("WEIR_CAPABILITY"))
	if err != nil {
		return err
	}
	weir, err := client.New(c, client.Options{
		Patience: time.Minute, // ride out a cluster without a leader
		Notice:   func(line string) { fmt.Fprintln(os.Stderr, "goclient:", line) },
	})
	if err != nil {
		return err
	}
	defer weir.Close()
	reply, err := weir.Submit(ctx, &pb.SubmitRequest{
		Pool: pool,
		Spec: &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: argv}}},
	})
	if err != nil {
		return err
	}
	job, err := weir.Follow(ctx, &pb.WatchRequest{Id: reply.Job}, printer{})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "goclient: job %d: %s\n", job.Id, job.Outcome.Kind)
	if job.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		return fmt.Errorf("the build failed: %s", job.Outcome.Message)
	}
	return nil
}

// printer is a client.Follower: it gets every change of the job, and every
// byte of its log, once.
type printer struct{}

func (printer) Event(e *pb.JobEvent) error {
	fmt.Fprintf(os.Stderr, "goclient: %s %s\n", e.Job.State, e.Why)
	return nil
}

func (printer) Log(d *pb.LogData) error {
	_, err := os.Stdout.Write(d.Data)
	return err
}
