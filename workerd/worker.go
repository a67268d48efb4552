package workerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/health"
	"github.com/weirbuild/weir/workerd/journal"
	"github.com/weirbuild/weir/workerd/logship"
	"github.com/weirbuild/weir/workerd/room"
	"github.com/weirbuild/weir/workerd/session"
	"github.com/weirbuild/weir/workerd/spool"
)

// RefusedError is what Run returns when the cluster will never let this worker
// in: a new start with the same capability would not help.
type RefusedError = session.RefusedError

// Env is what executors are built from. The directories are this worker's alone:
// the state directory is locked.
type Env struct {
	StateDir   string // 0700; jobs must not reach it
	WorkDir    string
	Logger     hclog.Logger
	Registerer prometheus.Registerer
}

// Build makes the executors, by the kinds of job that they run; see package jobkind.
type Build func(Env) (map[string]executor.Executor, error)

// Worker is one worker daemon.
type Worker struct {
	cfg       Config
	log       hclog.Logger
	reg       *prometheus.Registry
	metrics   *metrics
	executors map[string]executor.Executor

	state    *stateDir
	journal  *journal.Journal
	spool    *spool.Spool
	session  *session.Session
	health   *health.Checker
	keys     keyring
	table    *table
	http     *httpServer // nil: none is served
	attempts sync.WaitGroup

	drain  signal
	stop   signal
	leave  signal // it was told to stop or to drain by its own machine
	update signal // the cluster wants it updated
}

// signal is something that happens once.
type signal struct {
	once sync.Once
	ch   chan struct{}
}

func newSignal() signal     { return signal{ch: make(chan struct{})} }
func (s *signal) raise()    { s.once.Do(func() { close(s.ch) }) }
func (s *signal) set() bool { return isClosed(s.ch) }
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Open locks the state directory, takes up what an earlier process left there,
// and builds the executors. cfg must be complete; see [Config.Complete].
func Open(cfg Config, build Build, log hclog.Logger) (*Worker, error) {
	w := &Worker{
		cfg: cfg, log: log.Named("worker"), reg: newRegistry(), table: newTable(cfg.Slots),
		drain: newSignal(), stop: newSignal(), leave: newSignal(), update: newSignal(),
	}
	w.metrics = newMetrics(w.reg)
	if err := w.open(build); err != nil {
		return nil, errors.Join(fmt.Errorf("start worker: %w", err), w.close())
	}
	w.watch(w.reg)
	return w, nil
}

func (w *Worker) open(build Build) error {
	var err error
	if w.state, err = openState(w.cfg.StateDir); err != nil {
		return err
	}
	w.journal, err = journal.Open(w.cfg.StateDir, journal.Options{Logger: w.log.Named("journal"), Synced: w.metrics.flushed, Sync: w.cfg.syncJournal})
	if err != nil {
		return err
	}
	if w.spool, err = spool.Open(filepath.Join(w.cfg.StateDir, spoolDir), w.cfg.SpoolLimit); err != nil {
		return err
	}
	env := Env{StateDir: w.cfg.StateDir, WorkDir: w.cfg.WorkDir, Logger: w.log, Registerer: w.reg}
	executors, err := build(env)
	if err != nil {
		return err
	}
	w.executors = map[string]executor.Executor{}
	for kind, e := range executors {
		w.executors[kind] = executor.Standard(e, w.cfg.Name)
	}
	w.health = w.checker(executors)
	if w.http, err = w.listenHTTP(); err != nil {
		return err
	}
	labels, err := w.cfg.labels()
	if err != nil {
		return err
	}
	pages, err := newPages(w.reg, w.cfg.MetricsPages)
	if err != nil {
		return err
	}
	w.keys.set(w.cfg.keys)
	updateError, err := w.state.updateError()
	if err != nil {
		return err
	}
	var update func()
	if w.cfg.UpdateCommand != "" {
		update = w.beginUpdate
	}
	w.session = session.New(session.Config{
		Update: update, UpdateError: updateError,
		Page:       pages.page,
		Capability: w.cfg.capability, Keys: keyIDs(w.cfg.keys), Pool: w.cfg.Pool, Name: w.cfg.Name, InstanceKey: w.state.key,
		Slots: uint32(w.cfg.Slots), Labels: labels, Kinds: slices.Sorted(maps.Keys(executors)), Version: w.cfg.Version, Level: w.cfg.FeatureLevel,
		Addresses: w.state.cluster.Addresses, ClusterID: w.state.cluster.ID,
	}, host{w}, w.log.Named("session"), w.reg)
	w.giveUpInterrupted()
	return nil
}

// giveUpInterrupted stores the end of every attempt whose processes went with the
// process before this one, and completes their logs. A full disk stops none of it:
// what could not be stored is reported from memory.
func (w *Worker) giveUpInterrupted() {
	for _, l := range w.journal.Unfinished() {
		o := restarted()
		w.log.Info("giving up an attempt that a restart interrupted", "lease", l.Number, "job", l.Job)
		w.excuse(spool.ID{Lease: l.Number, Job: l.Job, Attempt: l.Attempt}, errors.New(o.Message))
		if err := w.journal.Finish(l.Number, o); err != nil {
			w.log.Error("the end of an attempt is in memory only", "lease", l.Number, "error", err)
		}
		w.metrics.ended(outcomeLabels[o.Kind], 0)
	}
	for _, l := range w.spool.Pending() {
		if _, err := l.Finish(); err != nil {
			w.log.Error("the log of a job cannot be completed", "lease", l.ID().Lease, "error", err)
		}
	}
}

// Run works until it is drained or stopped, and then returns nil; a
// *[RefusedError] says that the cluster will never let this worker in. The end of
// ctx is as Stop. Nothing of the worker is left when it returns; see Restart for
// what is to follow.
func (w *Worker) Run(ctx context.Context) error {
	w.log.Info("worker starts", "name", w.cfg.Name, "pool", w.cfg.Pool, "slots", w.cfg.Slots, "metrics", w.http.address(),
		"unacknowledged_results", w.journal.Waiting(), "version", w.cfg.Version)
	if (w.cfg.AllowCommand || len(w.cfg.Custom) > 0) && w.cfg.JobUser == "" {
		w.log.Warn("jobs run as the worker's own user: they can read what it can, its capability included; do not give it secrets (see --job-user)")
	}
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, background := errgroup.WithContext(background)
	group.Go(func() error { return w.session.Run(background) })
	group.Go(func() error { return w.ship(background) })
	group.Go(func() error { w.spool.Run(background, w.spoolFailed); return nil })
	group.Go(func() error { w.keepHealthy(background); return nil })
	group.Go(func() error { w.health.Run(background); return nil })
	if w.http != nil {
		group.Go(func() error { return w.http.run(background) })
	}
	w.work(ctx, background)
	end()
	err := group.Wait()
	w.attempts.Wait()
	if err == nil && w.Restart() {
		w.runUpdate(ctx)
	}
	w.log.Info("worker stopped", "unacknowledged_results", w.journal.Waiting())
	return errors.Join(err, w.close())
}

// close releases what open took, in reverse order.
func (w *Worker) close() error {
	var errs []error
	if w.http != nil {
		errs = append(errs, w.http.close())
	}
	if w.spool != nil {
		errs = append(errs, w.spool.Close())
	}
	if w.journal != nil {
		errs = append(errs, w.journal.Close())
	}
	if w.state != nil {
		errs = append(errs, w.state.close())
	}
	return errors.Join(errs...)
}

// ship delivers logs over a stream beside the session.
func (w *Worker) ship(ctx context.Context) error {
	// It ends only with ctx.
	_ = logship.Run(ctx, logship.Config{
		Dial: w.dialLogs, Moved: w.session.LinkChanged, Spool: w.spool, Logger: w.log.Named("logs"), Registerer: w.reg,
	})
	return nil
}

func (w *Worker) dialLogs(ctx context.Context) (logship.Stream, *pb.LogHello, error) {
	link, err := w.session.WaitLink(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, conn, err := link.Dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	stream, err := pb.NewWorkerServiceClient(conn).ShipLogs(ctx)
	if err != nil {
		return nil, nil, err
	}
	return stream, &pb.LogHello{Pool: w.cfg.Pool, Name: w.cfg.Name, InstanceKey: w.state.key, Relay: link.Relay}, nil
}

func (w *Worker) spoolFailed(err error) {
	w.log.Error("logs are not safe from a crash of this machine until the cluster has sealed them", "error", err)
}

// keepHealthy stores what may wait a moment, tries again what a failing disk
// refused, and tells the cluster when the worker becomes ready or unready.
func (w *Worker) keepHealthy(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = w.journal.Sync() // why tells its error
		w.finishLogs()
		why := w.why()
		switch {
		case why == told:
			continue
		case why == "":
			w.log.Info("takes new jobs again")
		case !w.leaving():
			w.log.Warn("takes no new jobs", "why", why)
		}
		told = why
		w.statusChanged()
	}
}

const healthEvery = 2 * time.Second

// finishLogs tries again to complete the logs of attempts that are over: the disk
// refused it when they ended, which was told then.
func (w *Worker) finishLogs() {
	for _, l := range w.spool.Pending() {
		if _, runs := w.table.get(l.ID().Lease); !runs {
			_, _ = l.Finish()
		}
	}
}

// why says why the worker takes no new jobs; "" when it does.
func (w *Worker) why() string {
	if w.leaving() {
		return "draining"
	}
	if err := w.journal.Err(); err != nil {
		return oneLine(err.Error())
	}
	if _, used, limit := w.spool.Usage(); used >= limit {
		return fmt.Sprintf("its log spool is full: %d bytes wait to be sealed", used)
	}
	for _, dir := range []string{w.cfg.StateDir, w.cfg.WorkDir} {
		if why := room.Short(dir, w.cfg.MinFree); why != "" {
			return why
		}
	}
	return oneLine(w.health.Why())
}

func (w *Worker) leaving() bool { return w.drain.set() || w.stop.set() }

func (w *Worker) statusChanged() { w.session.StatusChanged() }
