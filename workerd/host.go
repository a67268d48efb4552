package workerd

import (
	"cmp"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/jobkind"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/journal"
	"github.com/weirbuild/weir/workerd/session"
)

// host is the worker as its session sees it. None of its methods waits for the
// journal or for a job.
type host struct{ *Worker }

var _ session.Host = host{}

// Running implements session.Host.
func (h host) Running() []*pb.RunningAttempt {
	var running []*pb.RunningAttempt
	for _, a := range h.table.attempts() {
		running = append(running, &pb.RunningAttempt{Lease: a.lease, LogBytes: a.logBytes()})
	}
	return running
}

// HighestLease implements session.Host.
func (h host) HighestLease() uint64 { return h.journal.Highest() }

// Status implements session.Host.
func (h host) Status() *pb.WorkerStatus {
	why := h.why()
	return &pb.WorkerStatus{Ready: why == "", Draining: h.leaving(), Why: why}
}

// Results implements session.Host. A result that is not on the disk yet belongs
// to an attempt that still counts as running.
func (h host) Results() []*pb.FinishedAttempt {
	var results []*pb.FinishedAttempt
	for _, r := range h.journal.Results() {
		if _, storing := h.table.get(r.Lease); !storing {
			results = append(results, &pb.FinishedAttempt{Lease: r.Lease, Outcome: r.Outcome})
		}
	}
	return results
}

// Welcome implements session.Host: it remembers where the cluster is.
func (h host) Welcome(w *pb.Welcome) error {
	now := cluster{ID: w.ClusterId, Addresses: w.Addresses}
	if err := h.state.remember(now); err != nil {
		h.log.Warn("the cluster's addresses were not stored: after a restart only the capability's are tried", "error", err)
	}
	return nil
}

// Grants implements session.Host. A grant that comes again is answered with what
// became of the first.
func (h host) Grants(grants []*pb.Grant) {
	for _, g := range grants {
		if _, ok := h.table.get(g.Lease); ok {
			continue
		}
		if o := h.journal.Result(g.Lease); o != nil {
			h.session.Finished(&pb.FinishedAttempt{Lease: g.Lease, Outcome: o})
			continue
		}
		h.accept(g)
	}
}

// accept starts the life of a lease that this worker does not have.
func (h host) accept(g *pb.Grant) {
	ticket, fresh := h.journal.Begin(journal.Lease{Number: g.Lease, Job: g.Job, Attempt: g.Attempt})
	if !fresh {
		h.log.Warn("refused a lease that was started before", "lease", g.Lease, "job", g.Job)
		h.session.Finished(&pb.FinishedAttempt{Lease: g.Lease, Outcome: restarted()})
		return
	}
	a := newAttempt(g)
	task, exec, err := h.prepare(a)
	if refusal := h.table.enter(a); err == nil && refusal != "" {
		err = errors.New(refusal)
	}
	h.attempts.Go(func() { h.live(a, ticket, task, exec, err) })
}

// prepare finds out what a grant asks for.
func (h host) prepare(a *attempt) (executor.Task, executor.Executor, error) {
	g := a.grant
	task := executor.Task{
		Lease: g.Lease, Job: jobName(g.Job), Attempt: int(g.Attempt), Pool: g.Pool,
		Spec: new(pb.JobSpec), TimeLimit: ms(g.TimeLimitMs), LogLimit: tighter(g.LogLimitBytes, h.cfg.LogLimit), Kill: a.kill,
	}
	if err := proto.Unmarshal(g.Spec, task.Spec); err != nil {
		return task, nil, errors.New("the worker cannot read the job's specification: upgrade the worker")
	}
	a.slots = max(1, int(task.Spec.Slots))
	kind := cmp.Or(jobkind.Of(task.Spec), "unknown")
	exec, ok := h.executors[kind]
	if !ok {
		return task, nil, errors.New("the worker does not run jobs of kind " + kind)
	}
	secrets, refused, err := h.keys.unseal(g, task.Spec)
	if refused != nil {
		exec = executor.Standard(executor.Refuse(refused), h.cfg.Name)
	}
	task.Secrets = secrets
	return task, exec, err
}

// tighter returns the smaller of two limits, of which 0 is none.
func tighter(a, b int64) int64 {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// Stops implements session.Host.
func (h host) Stops(stops []*pb.Stop) {
	for _, s := range stops {
		fenced := s.Reason != pb.StopReason_STOP_CANCELLED
		a, ok := h.table.get(s.Lease)
		switch {
		case ok && fenced:
			h.log.Info("fenced: the lease is over, killing the job", "lease", s.Lease, "job", a.grant.Job, "why", s.Message)
			a.stop(executor.ErrFenced)
		case ok:
			h.log.Debug("cancelled", "lease", s.Lease, "job", a.grant.Job, "why", s.Message)
			a.stop(executor.ErrCancelled)
		case fenced:
			h.journal.Settle(s.Lease)
		}
	}
}

// FinishAcks implements session.Host.
func (h host) FinishAcks(acks []*pb.FinishAck) {
	for _, ack := range acks {
		if !ack.Recorded {
			h.metrics.refused.Inc()
			h.log.Info("a result came too late: its lease was over", "lease", ack.Lease, "recorded", ack.Outcome.GetKind())
		}
		if _, storing := h.table.get(ack.Lease); !storing {
			h.journal.Settle(ack.Lease)
		}
	}
}
