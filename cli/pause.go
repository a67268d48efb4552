package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// pausing is what the commands on the workers of a pool have in common.
type pausing struct {
	all     bool
	create  bool
	wait    bool
	reason  string
	timeout time.Duration
}

func newWorkerPause(e *env) *cobra.Command {
	var o pausing
	c := &cobra.Command{
		Use: "pause POOL [NAME...]", Short: "Keep new jobs from workers; what they run goes on",
		Long: "Keep new jobs from workers, until weir worker unpause. It holds over reconnects, restarts and changes of\n" +
			"leader, also when another machine takes the name. Jobs that were reserved for them go to others.",
		Example: "  weir worker pause linux w1 w2 --reason \"new disks\" --wait",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: e.completeWorkers,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), e, args, false) },
	}
	o.addFlags(e, c)
	c.Flags().BoolVar(&o.wait, "wait", false, "and wait until nothing runs on them, as weir worker drain does")
	return c
}

func newWorkerDrain(e *env) *cobra.Command {
	o := pausing{wait: true}
	c := &cobra.Command{
		Use: "drain POOL [NAME...]", Short: "Pause workers, and wait until nothing runs on them",
		Long: "Pause workers, as weir worker pause does, and wait until nothing runs on them. Interrupted, or after\n" +
			"--timeout (then with exit code 7), they stay paused.",
		Example: "  weir worker drain linux w1 --reason \"new disks\" && ssh w1 poweroff",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: e.completeWorkers,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), e, args, false) },
	}
	o.addFlags(e, c)
	return c
}

func newWorkerUnpause(e *env) *cobra.Command {
	var o pausing
	c := &cobra.Command{
		Use: "unpause POOL [NAME...]", Short: "Let paused workers have jobs again",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: e.completeWorkers,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), e, args, true) },
	}
	e.addClientFlags(c)
	c.Flags().BoolVar(&o.all, "all", false, "every worker of the pool")
	addAutoCreate(c, &o.create)
	return c
}

func addAutoCreate(c *cobra.Command, create *bool) {
	c.Flags().BoolVar(create, "auto-create", false, "also names that have never connected: an entry is made, which the first worker of the name takes over")
}

func (o *pausing) addFlags(e *env, c *cobra.Command) {
	e.addClientFlags(c)
	c.Flags().BoolVar(&o.all, "all", false, "every worker that is registered in the pool")
	addAutoCreate(c, &o.create)
	c.Flags().StringVar(&o.reason, "reason", "", "shown to those who ask why their job waits")
	c.Flags().DurationVar(&o.timeout, "timeout", 0, "wait no longer than this (without an end when not given)")
}

func (o *pausing) run(ctx context.Context, e *env, args []string, resume bool) error {
	pool, names := args[0], args[1:]
	if o.all == (len(names) > 0) {
		return usageError("name the workers, or give --all")
	}
	return e.with(func(cl *client.Client) error {
		r, err := cl.Admin().PauseWorkers(ctx, &pb.PauseWorkersRequest{Pool: pool, Names: names, All: o.all, Resume: resume, Reason: o.reason, Create: o.create})
		if err != nil {
			return err
		}
		what := "paused"
		if resume {
			what = "may have jobs again"
		}
		e.say("%s of pool %s %s", ui.Count(len(r.Workers), "worker", "workers"), pool, what)
		if !o.wait {
			return nil
		}
		return e.awaitIdle(ctx, cl.RetryFor(outage), pool, r.Workers, o.timeout)
	})
}

// idlePoll is how often a wait for workers looks.
const idlePoll = 500 * time.Millisecond

// awaitIdle returns once none of the workers runs anything, whoever leads. It says
// how many do whenever that changes.
func (e *env) awaitIdle(ctx context.Context, cl *client.Client, pool string, names []string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("jobs still run after %v; the workers stay paused (weir worker evict takes jobs off a worker)", timeout))
		defer cancel()
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	told := ""
	return poll(ctx, idlePoll, func() (bool, error) {
		list, err := cl.Admin().ListWorkers(ctx, &pb.ListWorkersRequest{Pool: pool})
		if err != nil {
			return false, err
		}
		busy, jobs := 0, 0
		for _, w := range list.Workers {
			if wanted[w.Name] && w.Running > 0 {
				busy++
				jobs += int(w.Running)
			}
		}
		line := "nothing runs on them"
		if busy > 0 {
			line = fmt.Sprintf("%s on %s", ui.Count(jobs, "job still runs", "jobs still run"), ui.Count(busy, "worker", "workers"))
		}
		if line != told {
			e.say("%s", line)
			told = line
		}
		return busy == 0, nil
	})
}

// poll asks again and again, until the answer is yes, an error, or ctx's end.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		done, err := ask()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func newPoolPause(e *env) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "pause NAME", Short: "Start no job of a pool; submits are accepted, and what runs goes on",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error { return e.pausePool(c.Context(), args[0], false, reason) },
	}
	c.Flags().StringVar(&reason, "reason", "", "shown to those who ask why their job waits")
	return c
}

func newPoolUnpause(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "unpause NAME", Short: "Start jobs of a paused pool again",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error { return e.pausePool(c.Context(), args[0], true, "") },
	}
}

func (e *env) pausePool(ctx context.Context, name string, resume bool, reason string) error {
	return e.with(func(cl *client.Client) error {
		_, err := cl.Admin().PausePool(ctx, &pb.PausePoolRequest{Name: name, Resume: resume, Reason: reason})
		if resume {
			return e.done(err, "pool %s is not paused any more", name)
		}
		return e.done(err, "pool %s is paused", name)
	})
}
