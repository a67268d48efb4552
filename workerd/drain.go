package workerd

import (
	"context"
	"time"

	"github.com/weirbuild/weir/workerd/executor"
)

const (
	// crossing is how long a drained worker still takes grants that were on their
	// way when it said that it wants no more.
	crossing = 250 * time.Millisecond
	// lastWords is how long a worker that was told to stop at once tries to say
	// what became of its jobs.
	lastWords = 5 * time.Second
	// watchEvery is how often a leaving worker looks whether all is delivered.
	watchEvery = 20 * time.Millisecond
)

// Drain makes the worker take no new jobs, end the running ones, deliver their
// results and logs, and stop. Calling it again does nothing.
func (w *Worker) Drain() { w.leave.raise(); w.drain.raise() }

// Stop makes the worker kill its jobs, report them so that they run elsewhere,
// and stop. It may follow Drain.
func (w *Worker) Stop() { w.leave.raise(); w.stop.raise() }

// work is the worker's life in phases. It returns when nothing runs any more and
// all that can be delivered has been; background ends early when the cluster
// refuses the worker.
func (w *Worker) work(ctx, background context.Context) {
	ended := context.AfterFunc(ctx, w.Stop)
	defer ended()
	refused := background.Done()
	select {
	case <-w.drain.ch:
	case <-w.stop.ch:
	case <-refused:
	}
	if !w.stop.set() && !isClosed(refused) {
		running, _ := w.table.load()
		w.log.Info("draining: no new jobs, waiting for the running ones", "running", running, "update", w.update.set())
		w.statusChanged()
		w.waitIdle(refused)
	}
	if w.stop.set() || isClosed(refused) {
		w.killAll()
		w.deliver(refused, nil, min(lastWords, w.cfg.DrainWait))
		return
	}
	w.deliver(refused, w.stop.ch, w.cfg.DrainWait)
}

// waitIdle returns when nothing runs and no grant is accepted any more, or the
// worker was told not to wait.
func (w *Worker) waitIdle(refused <-chan struct{}) {
	late := time.After(crossing)
	for {
		if late == nil && w.table.closeWhenIdle("the worker is shutting down") {
			return
		}
		select {
		case <-w.table.wake:
		case <-late:
			late = nil
		case <-w.stop.ch:
			return
		case <-refused:
			return
		}
	}
}

// killAll ends every attempt at once and waits for their ends.
func (w *Worker) killAll() {
	w.stop.raise()
	w.table.close("worker was shut down")
	running, _ := w.table.load()
	w.log.Info("stopping: killing the running jobs", "running", running)
	w.statusChanged()
	for _, a := range w.table.attempts() {
		a.stop(executor.ErrKilled)
	}
	for running > 0 {
		<-w.table.wake
		running, _ = w.table.load()
	}
}

// deliver waits until every result is acknowledged and every log sealed, or there
// is no more point in waiting. What is left stays on the disk.
func (w *Worker) deliver(refused, hurry <-chan struct{}, patience time.Duration) {
	over := time.After(patience)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		logs, bytes, _ := w.spool.Usage()
		results := w.journal.Waiting()
		if logs == 0 && results == 0 {
			return
		}
		select {
		case <-tick.C:
			continue
		case <-refused:
		case <-hurry:
		case <-over:
		}
		w.log.Warn("stopping before all was delivered: the rest is kept for the next start",
			"unacknowledged_results", results, "unsealed_logs", logs, "unsealed_bytes", bytes)
		return
	}
}
