package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

const (
	// tellAgain is after how long a worker that does not seem to have been told to
	// update is told again: the leader may have died with the order.
	tellAgain = 2 * time.Second
	// outage is for how long a wait goes on while no node answers.
	outage = time.Minute
)

// updating is what weir worker update is told.
type updating struct {
	all      bool
	wait     bool
	parallel int
	timeout  time.Duration
}

func newWorkerUpdate(e *env) *cobra.Command {
	var o updating
	c := &cobra.Command{
		Use: "update POOL [NAME...]", Short: "Have workers end their jobs, update themselves and start again, one first",
		Long: "Have workers end what they run, run the update command of their own configuration (weir worker\n" +
			"--update-command) and start again; what that command does, the cluster does not know. One worker, which runs\n" +
			"least, goes first, as a canary; when it is back and takes jobs, the others follow, some at a time. Without\n" +
			"names, all that are connected. When one fails, or is not back within --timeout, no other is begun, and the\n" +
			"exit code is 7. Waiting goes on over changes of leader.",
		Example: "  weir worker update linux\n  weir worker update linux w3 w4 --timeout 1h",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: e.completeWorkers,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), e, args[0], args[1:]) },
	}
	e.addClientFlags(c)
	c.Flags().BoolVar(&o.all, "all", false, "every worker that is connected, as without names")
	c.Flags().BoolVar(&o.wait, "wait", true, "go on in steps; with --wait=false tell all at once, and wait for none")
	c.Flags().IntVar(&o.parallel, "parallel", 4, "how many at a time, after the first")
	c.Flags().DurationVar(&o.timeout, "timeout", 600*time.Second, "how long one worker may take, with the jobs that it runs")
	return c
}

func (o *updating) run(ctx context.Context, e *env, pool string, names []string) error {
	switch {
	case o.all && len(names) > 0:
		return usageError("name the workers, or give --all")
	case o.parallel < 1:
		return usageError("--parallel %d: at least 1", o.parallel)
	case o.timeout <= 0:
		return usageError("--timeout %v: give a time above 0", o.timeout)
	}
	return e.with(func(cl *client.Client) error {
		u := &rollout{updating: o, env: e, cl: cl.RetryFor(outage), pool: pool}
		targets, err := u.choose(ctx, names)
		if err != nil {
			return err
		}
		if !o.wait {
			return u.tellAll(ctx, targets)
		}
		return u.roll(ctx, targets)
	})
}

// rollout is one rolling update.
type rollout struct {
	*updating
	env  *env
	cl   *client.Client
	pool string
}

// choose finds the workers that are meant, the one that runs least first. Nothing
// has been told to any of them when one of them cannot be updated.
func (u *rollout) choose(ctx context.Context, names []string) ([]*pb.Worker, error) {
	list, err := u.list(ctx)
	if err != nil {
		return nil, err
	}
	var chosen []*pb.Worker
	for _, w := range list {
		switch named := slices.Contains(names, w.Name); {
		case len(names) > 0 && !named:
			continue
		case named && !w.Connected:
			return nil, refusedError("worker %s of pool %s is not connected: start it, or leave it out", w.Name, u.pool)
		case !w.Connected:
			u.env.say("%s is not connected: left out", w.Name)
			continue
		case !w.Updates:
			return nil, refusedError("worker %s of pool %s takes no updates: start it with --update-command, or name those that do", w.Name, u.pool)
		}
		chosen = append(chosen, w)
	}
	for _, name := range names {
		if !slices.ContainsFunc(chosen, func(w *pb.Worker) bool { return w.Name == name }) {
			return nil, refusedError("there is no worker %q in pool %s: weir worker list shows those that are", name, u.pool)
		}
	}
	slices.SortStableFunc(chosen, func(a, b *pb.Worker) int { return cmp.Compare(a.Running, b.Running) })
	if len(chosen) == 0 {
		u.env.say("no worker of pool %s is connected", u.pool)
	}
	return chosen, nil
}

func refusedError(format string, args ...any) error {
	return &codedError{exitRefused, fmt.Errorf(format, args...)}
}

func (u *rollout) list(ctx context.Context) ([]*pb.Worker, error) {
	list, err := u.cl.Admin().ListWorkers(ctx, &pb.ListWorkersRequest{Pool: u.pool})
	return list.GetWorkers(), err
}

func (u *rollout) tell(ctx context.Context, w *pb.Worker) error {
	_, err := u.cl.Admin().UpdateWorker(ctx, &pb.UpdateWorkerRequest{Pool: u.pool, Name: w.Name, BootId: w.BootId})
	return err
}

func (u *rollout) tellAll(ctx context.Context, workers []*pb.Worker) error {
	for _, w := range workers {
		if err := u.tell(ctx, w); err != nil {
			return fmt.Errorf("tell worker %s: %w", w.Name, err)
		}
		u.env.say("%s was told", w.Name)
	}
	return nil
}

// roll updates the first, and then the others.
func (u *rollout) roll(ctx context.Context, workers []*pb.Worker) error {
	if len(workers) == 0 {
		return nil
	}
	first, others := workers[0], workers[1:]
	if len(others) > 0 {
		u.env.say("%s goes first, then %s", first.Name, ui.Count(len(others), "other", "others"))
	}
	if err := u.update(ctx, first); err != nil {
		if len(others) > 0 {
			err = fmt.Errorf("%w; %s not begun", err, ui.Count(len(others), "other was", "others were"))
		}
		return fmt.Errorf("update worker %s: %w", first.Name, err)
	}
	var failed atomic.Bool
	var done atomic.Int32
	errs := make([]error, len(others))
	var g errgroup.Group
	g.SetLimit(u.parallel)
	for i, w := range others {
		g.Go(func() error {
			if failed.Load() {
				return nil
			}
			if err := u.update(ctx, w); err != nil {
				failed.Store(true)
				errs[i] = fmt.Errorf("update worker %s: %w", w.Name, err)
				return nil
			}
			done.Add(1)
			return nil
		})
	}
	_ = g.Wait() // errs has all that failed
	u.env.say("%s of %s of pool %s updated", ui.Count(int(done.Load())+1, "worker", "workers"), fmt.Sprint(len(workers)), u.pool)
	return errors.Join(errs...)
}

// update has one worker updated and waits until it is back.
func (u *rollout) update(ctx context.Context, w *pb.Worker) error {
	ctx, cancel := context.WithTimeoutCause(ctx, u.timeout, fmt.Errorf("it is not back after %v; it goes on, see weir worker show %s %s", u.timeout, u.pool, w.Name))
	defer cancel()
	var told time.Time
	line := ""
	return poll(ctx, idlePoll, func() (bool, error) {
		now, err := u.find(ctx, w.Name)
		if err != nil {
			return false, err
		}
		if now.Connected && now.BootId == w.BootId && now.State != "draining" && time.Since(told) > tellAgain {
			told = time.Now()
			if err := u.tell(ctx, w); err != nil && client.Reason(err) != "not_found" { // it may just have left
				return false, err
			}
		}
		text, done := u.progress(w, now)
		if text != line && text != "" {
			line = text
			u.env.say("%s %s", w.Name, text)
		}
		if done && now.UpdateError != "" {
			return false, errors.New(now.UpdateError)
		}
		return done, nil
	})
}

func (u *rollout) find(ctx context.Context, name string) (*pb.Worker, error) {
	list, err := u.list(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(w *pb.Worker) bool { return w.Name == name })
	if i < 0 {
		return nil, errors.New("it was forgotten meanwhile")
	}
	return list[i], nil
}

// progress is what a worker does on its way from one process to the next.
func (u *rollout) progress(was, now *pb.Worker) (text string, done bool) {
	switch {
	case !now.Connected:
		return "updates", false
	case now.BootId == was.BootId && now.State == "draining" && now.Running > 0:
		return "waits for " + ui.Count(int(now.Running), "job", "jobs"), false
	case now.BootId == was.BootId:
		return "", false
	case now.State != "ready" && now.State != "paused":
		return "is back, and is " + now.State, false
	case now.UpdateError != "":
		return "is back as it was: the update failed", true
	case now.Version == was.Version:
		return "is back, with the same release " + now.Version, true
	}
	return fmt.Sprintf("is back: release %s, was %s", now.Version, was.Version), true
}
