package fsm

import (
	"cmp"
	"fmt"

	"github.com/weirbuild/weir/proto/pb"
)

// submitJob accepts a job, once for each request key, and grants it in the same
// command if the leader already knew a worker for it.
func (s *State) submitJob(c *pb.SubmitJob) Result {
	j, err := newJob(c)
	if err != nil {
		return refuse(Invalid, "submit: %v", err)
	}
	if r, answered := s.checkKey(j, c.GetKey()); answered {
		return r
	}
	p, client, r := s.admit(j, c.GetSlidingHour())
	if r != nil {
		return Result{Refusal: r}
	}
	s.accept(j, p, client, c.GetSlidingHour())
	s.rememberKey(j, c.GetKey())
	if to := c.GetGrantTo(); to != "" {
		if w, r := s.grantable(j, to, c.GetLeashMs()); r == nil {
			return s.grant(nil, j, w, c.GetLeashMs())
		}
	}
	s.store(nil, j)
	return Result{Job: j.ID}
}

// newJob checks what can be checked of a submit without the state.
func newJob(c *pb.SubmitJob) (*Job, error) {
	if err := ValidateName("client", c.GetClient()); err != nil {
		return nil, err
	}
	if err := ValidateName("pool", c.GetPool()); err != nil {
		return nil, err
	}
	if err := validateSize("job spec", len(c.GetSpec()), MaxSpecBytes); err != nil {
		return nil, err
	}
	if err := validateSize("box of sealed secrets", len(c.GetSealed()), MaxSealedBytes); err != nil {
		return nil, err
	}
	if err := ValidateHint(c.GetCacheHint()); err != nil {
		return nil, err
	}
	if err := ValidateLabels(c.GetLabels()); err != nil {
		return nil, err
	}
	if err := validateSize("slots", int(c.GetSlots()), MaxSlots); err != nil {
		return nil, err
	}
	if limit := c.GetWaitLimitMs(); limit < 0 || limit > MaxDuration {
		return nil, fmt.Errorf("wait limit of %d ms is out of range: 0 to %d", limit, MaxDuration)
	}
	if err := validateRules(c); err != nil {
		return nil, err
	}
	sum, err := digestOf("spec digest", c.GetSpecSha256())
	if err != nil {
		return nil, err
	}
	return &Job{
		Pool: c.GetPool(), Client: c.GetClient(), Spec: c.GetSpec(), SpecSHA256: sum, Sealed: c.GetSealed(),
		RequestKey: c.GetKey().GetId(), Hint: c.GetCacheHint(), Labels: labelsOf(c.GetLabels()),
		Slots: max(c.GetSlots(), 1), Urgent: c.GetUrgent(), WaitLimit: c.GetWaitLimitMs(), State: pb.JobState_JOB_STATE_QUEUED,
		Concurrency: c.GetConcurrency().GetKey(), AtMost: c.GetConcurrency().GetMost(), Priority: c.GetPriority(),
		RetryExits: c.GetRetryExitCodes(),
	}, nil
}

// admit finds the job's pool and client, and room in the queues.
func (s *State) admit(j *Job, sliding bool) (*Pool, *Client, *Refusal) {
	p, ok := s.Pool(j.Pool)
	if !ok {
		return nil, nil, noPool(j.Pool)
	}
	client, ok := s.Client(j.Client)
	if !ok {
		return nil, nil, noClient(j.Client)
	}
	limits := p.Limits()
	if waiting := p.Queued + p.Backoff; waiting >= limits.MaxQueued {
		return nil, nil, refusal(Full, "pool %s has %d jobs waiting, its limit; try again when some have run, or let an operator raise max_queued", p.Name, waiting)
	}
	h, ok := s.share(p.Name, client.Name)
	if ok && h.Waiting >= limits.MaxQueuedPerClient {
		return nil, nil, refusal(Full, "client %s has %d jobs waiting in pool %s, its limit there; try again when some have run, or let an operator raise max_queued_per_client", client.Name, h.Waiting, p.Name)
	}
	if r := h.urgentLimit(s.now, j, limits, sliding); r != nil {
		return nil, nil, r
	}
	if r := s.agrees(j); r != nil {
		return nil, nil, r
	}
	if n, _ := s.keyCounts.get(client.Name); n >= MaxKeys && j.RequestKey != "" {
		return nil, nil, refusal(Full, "client %s has submitted %d jobs with request keys within the hour for which they are remembered, the limit; try again later", client.Name, n)
	}
	return p, client, nil
}

// accept gives the job its id and its place in the queue. It is stored by the
// caller, once it is known whether it waits at all.
func (s *State) accept(j *Job, p *Pool, client *Client, sliding bool) {
	s.lastJob++
	j.ID = s.lastJob
	j.Pool, j.Client = p.Name, client.Name // one string each for all their jobs
	j.Hint = s.intern(j.Pool, j.Hint)
	j.Submitted = s.now
	limits := p.Limits()
	j.WaitLimit = cmp.Or(j.WaitLimit, limits.WaitLimit)
	s.charge(j, p, client)
	s.countUrgent(j, limits, sliding)
	s.emitJob(JobQueued, j)
}

// cancelJob ends a waiting job at once, and asks a running one's worker to stop.
func (s *State) cancelJob(c *pb.CancelJob) Result {
	j, r := s.job(JobID(c.GetJob()))
	if r != nil {
		return Result{Refusal: r}
	}
	reason := clip(c.GetReason(), MaxReasonLen)
	switch {
	case j.Waiting():
		out := &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_CANCELLED, Message: reason}
		s.giveBack(j)
		s.settle(j, clone(j), out)
		return Result{Job: j.ID, Outcome: out}
	case j.Running() && j.Cancel != nil:
		return Result{Job: j.ID, Lease: j.Lease, Worker: j.Worker(), Repeat: true}
	case j.Running():
		next := clone(j)
		next.Cancel = &Cancellation{Reason: reason}
		s.store(j, next)
		s.emit(Event{
			Kind: CancelRequested, Job: j.ID, Attempt: j.Last().No, Lease: j.Lease, Pool: j.Pool,
			Worker: j.Worker(), Client: j.Client, Message: reason,
		})
		return Result{Job: j.ID, Lease: j.Lease, Worker: j.Worker()}
	case j.Outcome.GetKind() == pb.OutcomeKind_OUTCOME_CANCELLED:
		return Result{Job: j.ID, Outcome: j.Outcome, Repeat: true}
	default:
		return refuse(Refused, "job %d is over: it ended as %s", j.ID, OutcomeName(j.Outcome.GetKind()))
	}
}

// settle ends a job: next is the copy of j to be changed. Its secrets go with it.
func (s *State) settle(j, next *Job, out *pb.Outcome) {
	next.State = pb.JobState_JOB_STATE_SETTLED
	next.Outcome = out
	next.Settled = s.now
	next.NotBefore = 0
	next.Sealed = nil
	s.store(j, next)
	s.emit(Event{Kind: JobSettled, Job: j.ID, Pool: j.Pool, Client: j.Client, Worker: j.Worker(), Outcome: out.GetKind()})
}

// emitJob tells of a job that waits.
func (s *State) emitJob(kind EventKind, j *Job) {
	s.emit(Event{Kind: kind, Job: j.ID, Pool: j.Pool, Client: j.Client})
}

func clone(j *Job) *Job {
	next := *j
	return &next
}
