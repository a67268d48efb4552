package fsm

import (
	"errors"
	"fmt"

	"github.com/weirbuild/weir/proto/pb"
)

// job enters a job, its attempts' leases and what it counts for.
func (b *builder) job(j *Job) error {
	if err := j.validate(b.s); err != nil {
		return fmt.Errorf("job %d: %w", j.ID, err)
	}
	if id, _, ok := b.s.jobs.m.Max(); ok && id >= j.ID {
		return misplaced("job " + j.ID.String())
	}
	p, _ := b.s.pools.get(j.Pool)
	p.count(j.State, +1)
	for i := range j.Attempts {
		lease := j.Attempts[i].Lease
		if other, taken := b.s.leases.get(lease); taken {
			return fmt.Errorf("job %d has lease %d of job %d", j.ID, lease, other)
		}
		b.s.leases.load(lease, j.ID)
	}
	b.s.jobs.load(j.ID, j)
	b.s.byClient.load(clientJob{j.Client, j.ID})
	b.s.link(j)
	if err := b.linkPermits(j); err != nil {
		return err
	}
	if j.State == pb.JobState_JOB_STATE_SETTLED {
		return nil
	}
	h, ok := b.s.Share(j.Pool, j.Client)
	if !ok {
		return fmt.Errorf("job %d: client %s has no share in pool %s", j.ID, j.Client, j.Pool)
	}
	h.count(j.State, +1)
	if j.Waiting() {
		b.s.countPending(j.Pool, j.Hint, +1)
		return nil
	}
	return b.hold(j)
}

// hold counts a running job at its worker.
func (b *builder) hold(j *Job) error {
	a := j.Last()
	w, ok := b.s.Worker(j.Pool, a.Worker)
	if !ok || w.Key != a.Key {
		return fmt.Errorf("job %d is held by worker %s, which is not registered so", j.ID, a.Worker)
	}
	w.Leases++
	w.Used += j.Slots
	return nil
}

// intern replaces a restored job's strings by those of the records that it names.
func (b *builder) intern(j *Job) {
	if p, ok := b.s.pools.get(j.Pool); ok {
		j.Pool = p.Name
	}
	if c, ok := b.s.Client(j.Client); ok {
		j.Client = c.Name
	}
	for i := range j.Attempts {
		if w, ok := b.s.Worker(j.Pool, j.Attempts[i].Worker); ok {
			j.Attempts[i].Worker = w.Name
		}
	}
	j.Hint = b.s.intern(j.Pool, j.Hint)
}

// validate checks a job by itself, and against the counters of the state.
func (j *Job) validate(s *State) error {
	if j.ID == 0 || j.ID > s.lastJob {
		return fmt.Errorf("the newest job is %d", s.lastJob)
	}
	if _, ok := s.pools.get(j.Pool); !ok {
		return fmt.Errorf("there is no pool %s", quote(j.Pool))
	}
	if j.Slots < 1 || j.Slots > MaxSlots || len(j.Spec) > MaxSpecBytes || len(j.Sealed) > MaxSealedBytes || len(j.Attempts) > MaxAttempts || j.Charge < 0 {
		return errors.New("a number or size is out of range")
	}
	if j.RequestKey != "" {
		if err := ValidateRequestKey(j.RequestKey); err != nil {
			return err
		}
	}
	if err := errors.Join(ValidateName("client", j.Client), ValidateHint(j.Hint), ValidateLabels(labelsPB(j.Labels))); err != nil {
		return err
	}
	if err := validTimes("it", j.Submitted, j.FairStart, j.NotBefore, j.Settled, j.Charge, j.WaitLimit); err != nil {
		return err
	}
	if err := validateJobRules(j.Concurrency, j.AtMost, j.Priority, j.RetryExits); err != nil {
		return err
	}
	if err := j.validateAttempts(s); err != nil {
		return err
	}
	return j.validateState()
}

func (j *Job) validateAttempts(s *State) error {
	for i := range j.Attempts {
		a := &j.Attempts[i]
		if a.Lease == 0 || a.Lease > LeaseID(s.epoch<<leaseCounterBits|s.lastLease) {
			return fmt.Errorf("attempt %d has lease %d, which was never given", a.No, a.Lease)
		}
		if err := ValidateName("worker", a.Worker); err != nil {
			return fmt.Errorf("attempt %d: %w", a.No, err)
		}
		if over := i < len(j.Attempts)-1 || !j.Running(); over != (a.Outcome != nil) {
			return fmt.Errorf("attempt %d: an outcome is missing, or there too early", a.No)
		}
		if i > 0 && (a.No != j.Attempts[i-1].No+1 || a.Lease <= j.Attempts[i-1].Lease) {
			return fmt.Errorf("attempt %d is out of order", a.No)
		}
		if a.Held && (a.Outcome == nil || j.Concurrency == "") || (a.Leash != 0) != (j.Concurrency != "") {
			return fmt.Errorf("attempt %d has a leash or holds a key, as none of this job can", a.No)
		}
		if err := validTimes("it", a.Started, a.Ended, a.Leash); err != nil {
			return fmt.Errorf("attempt %d: %w", a.No, err)
		}
	}
	return nil
}

// validateState checks that a job has what its state asks for, and no more.
func (j *Job) validateState() error {
	var good bool
	switch j.State {
	case pb.JobState_JOB_STATE_QUEUED:
		good = j.Lease == 0 && j.Outcome == nil && j.Settled == 0 && j.NotBefore == 0 && j.Cancel == nil
	case pb.JobState_JOB_STATE_BACKOFF:
		good = j.Lease == 0 && j.Outcome == nil && j.Settled == 0 && j.NotBefore != 0 && j.Cancel == nil && j.Last() != nil
	case pb.JobState_JOB_STATE_RUNNING:
		good = j.Last() != nil && j.Lease == j.Last().Lease && j.Outcome == nil && j.Settled == 0 && j.NotBefore == 0
	case pb.JobState_JOB_STATE_SETTLED:
		good = j.Lease == 0 && j.Outcome != nil && j.NotBefore == 0 && len(j.Sealed) == 0
	}
	if !good {
		return fmt.Errorf("its fields do not belong to a job that is %s", StateName(j.State))
	}
	return nil
}
