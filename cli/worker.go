package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/workerd"
)

// newWorker is the daemon and, below it, the operators' commands on workers.
func newWorker(e *env) *cobra.Command {
	cfg := workerd.Default()
	cfg.Version = Version
	x := &engines{}
	c := &cobra.Command{
		Use:   "worker --connect CAP --state-dir DIR",
		Short: "Run a build worker; check its machine; list, show, pause and drain workers",
		Long: "Run a build worker. It dials any address of its capability and follows the cluster's leader from there.\n" +
			"SIGTERM drains it: no new builds, running ones end; a second SIGTERM kills them, and they run elsewhere.\n" +
			"With --update-command, weir worker update makes it end its builds, run that command and start again, as the same\n" +
			"process; without a supervisor too.\n" +
			"SIGHUP makes it read its capability's file again, for a new key of the pool: no build is lost.\n" +
			"Every flag is also a key of the --config file and an environment variable: --state-dir is state-dir and\n" +
			"WEIR_STATE_DIR.\n\n" +
			"Exit codes: 0 drained or stopped, 2 wrong configuration, 4 the cluster will never let this worker in,\n7 anything else.",
		Example: "  weir worker --connect worker.cap --slots 8 --state-dir /var/lib/weir-worker --allow-command --job-user weir-build",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := loadSettings(c.Flags(), os.Environ()); err != nil {
				return usageError("%w", err)
			}
			again, err := thisProgram()
			if err != nil {
				return err
			}
			if err := cfg.Complete(); err != nil {
				return usageError("%w", err)
			}
			x.cfg = cfg
			restart, err := runWorker(c, e, x)
			if err == nil && restart {
				err = again.start()
			}
			return err
		},
	}
	cfg.AddFlags(c.Flags())
	x.obuilder.addFlags(c.Flags())
	x.docker.addFlags(c.Flags())
	addConfigFlag(c.Flags())
	c.AddCommand(newWorkerCheck(e), newWorkerList(e), newWorkerShow(e), newWorkerPause(e), newWorkerUnpause(e), newWorkerDrain(e),
		newWorkerUpdate(e), newWorkerEvict(e), newWorkerExec(e), newWorkerForget(e))
	return c
}

// runWorker returns when the worker has stopped; restart says that it should be
// started again.
func runWorker(c *cobra.Command, e *env, x *engines) (restart bool, err error) {
	defer x.close()
	w, err := workerd.Open(x.cfg, x.build, x.cfg.NewLogger(e.stderr))
	if err != nil {
		return false, err
	}
	upkeep, endUpkeep := context.WithCancel(c.Context())
	var background sync.WaitGroup
	background.Go(func() { x.maintain(upkeep) })
	background.Go(func() { x.obuilder.maintain(upkeep) })
	background.Go(func() { reloadOnHangup(upkeep, w, x.log) })
	defer func() { endUpkeep(); background.Wait() }()
	interrupts := listen()
	defer interrupts.stop()
	ended := make(chan struct{})
	listened := make(chan struct{})
	go func() { // ends with the worker
		defer close(listened)
		for _, act := range []func(){w.Drain, w.Stop} {
			if !interrupts.next(ended) {
				return
			}
			act()
		}
	}()
	err = w.Run(c.Context())
	close(ended)
	<-listened
	var refused *workerd.RefusedError
	if errors.As(err, &refused) {
		return false, &codedError{exitRefused, err}
	}
	return w.Restart(), err
}

// reloadOnHangup makes the worker read its capability again at each SIGHUP.
func reloadOnHangup(ctx context.Context, w *workerd.Worker, log hclog.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := w.Reload(); err != nil {
				log.Error("the worker goes on with what it has", "error", err)
			}
		}
	}
}
