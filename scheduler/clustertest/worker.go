package clustertest

import (
	"context"
	"path/filepath"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/workerd"
	"github.com/weirbuild/weir/workerd/executor"
)

// Worker is a worker daemon of the cluster, with builds in place of programs.
type Worker struct {
	Name string

	daemon *workerd.Worker
	ended  chan error
	err    error
	over   bool
}

// StartWorker starts a worker, which ends with the test. Started again under its
// name, after it was stopped, it finds its state.
func (c *Cluster) StartWorker(with capability.Capability, pool, name string, slots int, builds *Builds, more ...func(*workerd.Config)) *Worker {
	c.t.Helper()
	cfg := workerd.Default()
	cfg.Connect = with.Reveal()
	cfg.Name, cfg.Pool, cfg.Slots = name, pool, slots
	cfg.StateDir = filepath.Join(c.dir, "worker-"+name)
	cfg.AllowCommand, cfg.JobUser = true, "nobody" // the builds start no program
	for _, f := range more {
		f(&cfg)
	}
	c.must(cfg.Complete())
	daemon, err := workerd.Open(cfg, func(workerd.Env) (map[string]executor.Executor, error) {
		return map[string]executor.Executor{"command": builds}, nil
	}, c.log.Named(name))
	c.must(err)
	w := &Worker{Name: name, daemon: daemon, ended: make(chan error, 1)}
	go func() { w.ended <- daemon.Run(context.Background()) }() // Stop waits for it
	c.t.Cleanup(func() { _ = w.Stop() })
	return w
}

// Stop kills what the worker runs and stops it; it returns what Run did.
func (w *Worker) Stop() error {
	w.daemon.Stop()
	return w.Wait()
}

// Drain lets the worker end what it runs.
func (w *Worker) Drain() { w.daemon.Drain() }

// Wait returns when the worker has ended, with what its Run returned.
func (w *Worker) Wait() error {
	if !w.over {
		w.err, w.over = <-w.ended, true
	}
	return w.err
}
