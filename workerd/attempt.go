package workerd

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/journal"
	"github.com/weirbuild/weir/workerd/spool"
)

const maxMessage = 1024 // bytes, of an outcome

// live is an attempt from its grant to its report: note the lease, run, fix the
// log, store the result, report it. refusal is why it must not run.
func (w *Worker) live(a *attempt, ticket journal.Ticket, task executor.Task, exec executor.Executor, refusal error) {
	start := time.Now()
	defer a.cancel(nil)
	w.log.Debug("job granted", "lease", a.lease, "job", task.Job, "attempt", task.Attempt)
	outcome, err := (*pb.Outcome)(nil), refusal
	if e := ticket.Wait(); e != nil {
		w.statusChanged()
		err = errors.Join(err, e)
	}
	if err == nil {
		unleash := w.leash(a)
		outcome, err = w.execute(a, task, exec)
		unleash()
	} else {
		w.excuse(spool.ID{Lease: a.lease, Job: a.grant.Job, Attempt: a.grant.Attempt}, err)
	}
	if err != nil {
		outcome = broken(err)
	}
	w.end(a, presentable(outcome), time.Since(start))
}

// execute runs the job with its log. An error says that the worker is to blame.
func (w *Worker) execute(a *attempt, task executor.Task, exec executor.Executor) (*pb.Outcome, error) {
	log, err := w.spool.Create(spool.ID{Lease: a.lease, Job: a.grant.Job, Attempt: a.grant.Attempt})
	if err != nil {
		return nil, err
	}
	a.hasLog(log)
	w.session.Started(a.lease)
	outcome, err := guarded(a.ctx, exec, task, log)
	if why := log.Cut(); why != nil {
		w.metrics.cut.Inc()
		w.log.Warn("the log of a job was cut off: the job went on", "lease", a.lease, "job", task.Job, "why", why)
	}
	if _, e := log.Finish(); e != nil {
		w.log.Error("the log of a job cannot be completed", "lease", a.lease, "job", task.Job, "error", e)
	}
	if err != nil && !errors.Is(err, context.Cause(a.ctx)) {
		w.log.Warn("a job could not be run", "lease", a.lease, "job", task.Job, "error", err)
	}
	return outcome, err
}

// guarded keeps an executor's panic to its own attempt.
func guarded(ctx context.Context, exec executor.Executor, task executor.Task, log *spool.Log) (o *pb.Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			o, err = nil, fmt.Errorf("executor panicked: %v\n%s", p, debug.Stack())
		}
	}()
	o, err = exec.Run(ctx, task, log)
	if err == nil && o.GetKind() == pb.OutcomeKind_OUTCOME_UNSPECIFIED {
		err = errors.New("executor gave no outcome")
	}
	return o, err
}

// end stores and reports a result, or drops it when nobody may hear of it.
func (w *Worker) end(a *attempt, outcome *pb.Outcome, took time.Duration) {
	label := outcomeLabels[outcome.Kind]
	err := journal.ErrOver
	if a.isFenced() {
		label = fencedLabel
		w.journal.Settle(a.lease)
	} else if err = w.journal.Finish(a.lease, outcome); err != nil && !errors.Is(err, journal.ErrOver) {
		w.log.Error("a result is in memory only: if this worker dies before it is acknowledged, the job runs again", "lease", a.lease, "error", err)
	}
	w.metrics.ended(label, took)
	w.log.Debug("job ended", "lease", a.lease, "job", a.grant.Job, "outcome", label, "message", outcome.Message, "took", took)
	w.table.leave(a)
	if !errors.Is(err, journal.ErrOver) {
		w.session.Finished(&pb.FinishedAttempt{Lease: a.lease, Outcome: outcome})
	}
	if w.journal.Err() != nil {
		w.statusChanged()
	}
}

// excuse makes the log of an attempt that was never run, or was interrupted, say
// so, and completes it: a log that is never sealed would look as if more came.
func (w *Worker) excuse(id spool.ID, why error) {
	log, ok := w.spool.Get(id.Lease)
	var err error
	if !ok {
		log, err = w.spool.Create(id)
	}
	if err == nil {
		line := "Job stopped by its worker: " + oneLine(why.Error()) + "\n"
		if log.Size() > 0 {
			line = "\n" + line
		}
		_, err = log.Write([]byte(line))
		if errors.Is(err, spool.ErrFinished) {
			err = nil
		}
		_, e := log.Finish()
		err = errors.Join(err, e)
	}
	if err != nil {
		w.log.Warn("the log of a job cannot say why it was not run", "lease", id.Lease, "error", err)
	}
}

// broken is the outcome of an attempt that the worker is to blame for.
func broken(err error) *pb.Outcome {
	message := err.Error()
	if errors.Is(err, executor.ErrKilled) {
		message = "worker was shut down"
	}
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_WORKER_ERROR, Message: message}
}

// restarted is the outcome of an attempt whose processes went with the worker.
func restarted() *pb.Outcome {
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_WORKER_RESTARTED, Message: "worker restarted"}
}

// presentable makes an outcome keep the limits of its message.
func presentable(o *pb.Outcome) *pb.Outcome {
	o.Message = oneLine(o.Message)
	o.Signal = oneLine(o.Signal)
	o.Output = strings.ToValidUTF8(o.Output[:min(len(o.Output), maxOutput)], "")
	return o
}

const maxOutput = 4096 // bytes, of an outcome

// oneLine makes text one printable line of at most maxMessage bytes.
func oneLine(s string) string {
	s, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more {
		s += " ..."
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage-len("...")], "") + "..."
	}
	return s
}

// jobName is a job's printed id.
func jobName(id uint64) string { return strconv.FormatUint(id, 10) }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
