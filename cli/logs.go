package cli

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

type logsOptions struct {
	follow   bool
	from     int64
	attempt  uint32
	retryFor time.Duration
}

func newLogs(e *env) *cobra.Command {
	var o logsOptions
	c := &cobra.Command{
		Use:   "logs ID",
		Short: "Print a job's log, exactly as the build wrote it",
		Long: "Print a job's log, exactly as the build wrote it, from any node, also after its worker has gone.\n" +
			"A log that is not complete says so on standard error, with who has the rest, and ends with exit code 8.\n" +
			"Ctrl-C ends the command with 130 and leaves the job alone.",
		Example: "  weir logs -f 42\n  weir logs --from -2000 42",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.completeJobs,
		RunE: func(c *cobra.Command, args []string) error { return runLogs(c, e, o, args[0]) },
	}
	e.addClientFlags(c)
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "wait for more until the log is complete")
	c.Flags().Int64Var(&o.from, "from", 0, "first byte to print; negative: that many bytes from the end")
	c.Flags().DurationVar(&o.retryFor, "retry-for", defaultRetryFor, "with -f: how long to ride out a cluster that does not answer")
	c.Flags().Uint32Var(&o.attempt, "attempt", 0, "of this attempt (the latest that has a log when not given)")
	return c
}

func runLogs(c *cobra.Command, e *env, o logsOptions, arg string) error {
	id, err := parseJob(arg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	patience := client.DefaultPatience
	if o.follow {
		patience = o.retryFor
	}
	cl, err := e.client(client.Options{Patience: patience, Notice: func(line string) { e.say("%s", line) }})
	if err != nil {
		return err
	}
	defer cl.Close()
	return printLog(ctx, e, cl, &pb.ReadLogRequest{Job: id, Attempt: o.attempt, Offset: o.from, Follow: o.follow})
}

func printLog(ctx context.Context, e *env, cl *client.Client, req *pb.ReadLogRequest) error {
	var why string
	err := cl.Tail(ctx, req, func(d *pb.LogData) error {
		why = d.IncompleteWhy
		if d.Note != "" {
			fmt.Fprintf(e.stderr, "weir: %s\n", d.Note)
		}
		_, err := e.stdout.Write(d.Data)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return &codedError{exitInterrupted, &quietError{ctx.Err()}}
	case err == nil && why != "":
		return &codedError{exitIncomplete, fmt.Errorf("the log is not complete: %s", why)}
	}
	return err
}
