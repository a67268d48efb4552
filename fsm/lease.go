package fsm

import (
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// grantLease gives a queued job to a worker, if both still are what the leader
// saw.
func (s *State) grantLease(c *pb.GrantLease) Result {
	j, r := s.job(JobID(c.GetJob()))
	if r != nil {
		return Result{Refusal: r}
	}
	w, r := s.grantable(j, c.GetWorker(), c.GetLeashMs())
	if r != nil {
		return Result{Refusal: r}
	}
	next := clone(j)
	s.trade(j, next, JobID(c.GetInPlaceOf()))
	return s.grant(j, next, w, c.GetLeashMs())
}

func (s *State) grantable(j *Job, worker string, leash int64) (*Worker, *Refusal) {
	if j.State != pb.JobState_JOB_STATE_QUEUED {
		return nil, refusal(Refused, "job %d is not in the backlog: its state is %s", j.ID, StateName(j.State))
	}
	w, ok := s.worker(j.Pool, worker)
	if !ok {
		return nil, refusal(Refused, "worker %s is not registered in pool %s", quote(worker), j.Pool)
	}
	if r := s.startable(w); r != nil {
		return nil, r
	}
	if w.Free() < j.Slots {
		return nil, refusal(Refused, "job %d takes %d slots and worker %s has %d of its %d free", j.ID, j.Slots, w.Name, w.Free(), w.Slots)
	}
	for _, l := range j.Labels {
		if !slices.Contains(w.Labels, l) {
			return nil, refusal(Refused, "job %d asks for label %s=%s, which worker %s has not", j.ID, l.Name, l.Value, w.Name)
		}
	}
	if r := s.permitted(j, leash); r != nil {
		return nil, r
	}
	return w, nil
}

// grant gives j to a worker. old is the record that j, a copy, takes the place
// of; nil: j is new.
func (s *State) grant(old, j *Job, w *Worker, leash int64) Result {
	a := Attempt{No: 1, Lease: s.nextLease(), Worker: w.Name, Key: w.Key, Started: s.now}
	if last := j.Last(); last != nil {
		a.No = last.No + 1
	}
	if j.Concurrency != "" {
		a.Leash = leash
	}
	if j.Hint != "" {
		a.Cached = s.recordHint(j.Pool, j.Hint, w.Name)
	}
	kept := j.Attempts
	if len(kept) == MaxAttempts {
		s.leases.del(kept[0].Lease)
		kept = kept[1:]
	}
	j.State = pb.JobState_JOB_STATE_RUNNING
	j.Lease = a.Lease
	j.Attempts = append(slices.Clip(kept), a) // a new array: records never change
	s.leases.load(a.Lease, j.ID)
	s.store(old, j)
	s.occupy(w.Pool, w.Name, j.Slots, +1)
	s.emit(Event{
		Kind: LeaseGranted, Job: j.ID, Attempt: a.No, Lease: a.Lease, Pool: j.Pool, Worker: w.Name,
		Client: j.Client,
	})
	return Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: w.Name}
}

// finishAttempt records how an attempt ended, once: the same lease gets the same
// answer for as long as its attempt is kept.
func (s *State) finishAttempt(c *pb.FinishAttempt) Result {
	id, kind := LeaseID(c.GetLease()), c.GetOutcome().GetKind()
	if !finishes(kind) {
		return refuse(Invalid, "finish lease %d: a worker can't report %s", id, OutcomeName(kind))
	}
	j, a, r := s.heldAttempt(id, c.GetHolder())
	if r != nil {
		return Result{Refusal: r}
	}
	if a.Outcome != nil && !finishes(a.Outcome.GetKind()) {
		r := refuse(Fenced, "lease %d is over: it ended as %s", id, OutcomeName(a.Outcome.GetKind()))
		r.Outcome = a.Outcome
		return r
	}
	repeat := a.Outcome != nil
	out := a.Outcome
	if !repeat {
		out = outcomeOf(c.GetOutcome())
		s.endAttempt(j, out)
	}
	return Result{
		Job: j.ID, Lease: id, Attempt: a.No, Worker: a.Worker, Recorded: true, Outcome: out,
		Repeat: repeat,
	}
}

// expireLease takes a running job from a worker that the leader gave up.
func (s *State) expireLease(c *pb.ExpireLease) Result {
	id, why := LeaseID(c.GetLease()), c.GetWhy()
	switch why {
	case pb.OutcomeKind_OUTCOME_WORKER_LOST, pb.OutcomeKind_OUTCOME_WORKER_REVOKED, pb.OutcomeKind_OUTCOME_EVICTED:
	default:
		return refuse(Invalid, "expire lease %d: %s is no reason for that", id, OutcomeName(why))
	}
	j, a, ok := s.Attempt(id)
	if !ok || a.Outcome != nil {
		return refuse(Fenced, "lease %d is over", id)
	}
	out := &pb.Outcome{Kind: why, Message: clip(c.GetMessage(), MaxReasonLen)}
	no, worker := a.No, a.Worker
	s.endAttempt(j, out)
	return Result{Job: j.ID, Lease: id, Attempt: no, Worker: worker, Outcome: out}
}

// endAttempt closes the running attempt, frees the worker's slots, and lets
// retry.go say what becomes of the job.
func (s *State) endAttempt(j *Job, out *pb.Outcome) {
	next := clone(j)
	next.Lease = 0
	next.Attempts = slices.Clone(j.Attempts)
	a := next.Last()
	a.Ended, a.Outcome = s.now, out
	s.learn(j, a)
	s.holdOn(next, a)
	s.occupy(j.Pool, a.Worker, j.Slots, -1)
	s.emit(Event{
		Kind: AttemptEnded, Job: j.ID, Attempt: a.No, Lease: a.Lease, Pool: j.Pool, Worker: a.Worker,
		Client: j.Client, Outcome: out.GetKind(),
	})
	s.afterAttempt(j, next, out)
}

// heldAttempt finds the attempt of a lease if the holder is whom it was given to.
func (s *State) heldAttempt(id LeaseID, h *pb.Holder) (*Job, *Attempt, *Refusal) {
	j, a, ok := s.Attempt(id)
	if !ok {
		return nil, nil, refusal(Fenced, "lease %d is not known: it never was, or its job is forgotten", id)
	}
	if j.Pool != h.GetPool() || !a.HeldBy(h.GetWorker(), h.GetKeySha256()) {
		return nil, nil, refusal(Fenced, "lease %d was not given to worker %s of pool %s with this instance key", id, quote(h.GetWorker()), quote(h.GetPool()))
	}
	return j, a, nil
}

// finishes says whether a worker may report this end of an attempt. The other
// ends are the cluster's to declare, and fence whatever the worker says later.
func finishes(kind pb.OutcomeKind) bool {
	switch kind {
	case pb.OutcomeKind_OUTCOME_SUCCEEDED, pb.OutcomeKind_OUTCOME_FAILED, pb.OutcomeKind_OUTCOME_CANCELLED,
		pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_WORKER_RESTARTED, pb.OutcomeKind_OUTCOME_WORKER_ERROR:
		return true
	}
	return false
}

// succeeded is the outcome of most attempts, once for all of them.
var succeeded = &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}

// outcomeOf keeps of a reported outcome what this binary knows, at its limits.
func outcomeOf(c *pb.Outcome) *pb.Outcome {
	if c.GetKind() == succeeded.Kind && c.GetExitCode() == 0 && c.GetSignal() == "" && c.GetMessage() == "" && c.GetOutput() == "" {
		return succeeded
	}
	return &pb.Outcome{
		Kind: c.GetKind(), ExitCode: c.GetExitCode(), Signal: clip(c.GetSignal(), MaxValueLen),
		Message: clip(c.GetMessage(), MaxReasonLen), Output: clip(c.GetOutput(), MaxOutputLen),
	}
}
