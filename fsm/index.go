package fsm

import (
	"github.com/weirbuild/weir/proto/pb"
)

// store puts a job's new record in place of the old one (nil: the job is new),
// and keeps every index and count in step with it.
func (s *State) store(old, j *Job) {
	if old == nil {
		s.jobs.load(j.ID, j)
		s.byClient.load(clientJob{j.Client, j.ID})
		s.link(j)
		s.tally(j, none, j.State)
		return
	}
	s.jobs.set(j.ID, j)
	if old.State != j.State {
		s.unlink(old)
		s.link(j)
		s.tally(j, old.State, j.State)
	} else if j.State != pb.JobState_JOB_STATE_SETTLED {
		s.link(j) // at the same place, the new record
	}
}

// remove forgets a job.
func (s *State) remove(j *Job) {
	s.unlink(j)
	s.tally(j, j.State, none)
	for i := range j.Attempts {
		s.leases.del(j.Attempts[i].Lease)
	}
	s.byClient.del(clientJob{j.Client, j.ID})
	s.jobs.del(j.ID)
}

// link enters a job where jobs of its state are found.
func (s *State) link(j *Job) {
	if j.WaitsUntil() != 0 {
		s.patience.set(j)
	}
	switch j.State {
	case pb.JobState_JOB_STATE_QUEUED:
		s.backlog.load(j)
	case pb.JobState_JOB_STATE_BACKOFF:
		s.backoff.set(j)
	case pb.JobState_JOB_STATE_RUNNING:
		s.running.set(j)
	case pb.JobState_JOB_STATE_SETTLED:
		s.settled.load(settledJob{j.Pool, j.Settled, j.ID})
	}
}

func (s *State) unlink(j *Job) {
	if j.WaitsUntil() != 0 {
		s.patience.del(j)
	}
	switch j.State {
	case pb.JobState_JOB_STATE_QUEUED:
		s.backlog.del(j)
	case pb.JobState_JOB_STATE_BACKOFF:
		s.backoff.del(j)
	case pb.JobState_JOB_STATE_RUNNING:
		s.running.del(j)
	case pb.JobState_JOB_STATE_SETTLED:
		s.settled.del(settledJob{j.Pool, j.Settled, j.ID})
	}
}

// none is the state of a job that is not there.
const none = pb.JobState_JOB_STATE_UNSPECIFIED

// tally counts a job's change of state in its pool, its client's share and the
// pending hints.
func (s *State) tally(j *Job, from, to pb.JobState) {
	p := s.changePool(j.Pool)
	p.count(from, -1)
	p.count(to, +1)
	if from == pb.JobState_JOB_STATE_SETTLED {
		return
	}
	h := s.changeShare(j.Pool, j.Client)
	h.count(from, -1)
	h.count(to, +1)
	s.dropIfGone(h)
	s.changeSemaphore(j, func(m *Semaphore) {
		m.count(from, -1)
		m.count(to, +1)
	})
	if delta := waits(to) - waits(from); delta != 0 {
		s.countPending(j.Pool, j.Hint, delta)
	}
}

func (p *Pool) count(state pb.JobState, delta int) {
	switch state {
	case pb.JobState_JOB_STATE_QUEUED:
		p.Queued += delta
	case pb.JobState_JOB_STATE_BACKOFF:
		p.Backoff += delta
	case pb.JobState_JOB_STATE_RUNNING:
		p.Running += delta
	case pb.JobState_JOB_STATE_SETTLED:
		p.Settled += delta
	}
}

func (h *Share) count(state pb.JobState, delta int) {
	h.Waiting += delta * waits(state)
	if state == pb.JobState_JOB_STATE_RUNNING {
		h.Running += delta
	}
}

func waits(state pb.JobState) int {
	if state == pb.JobState_JOB_STATE_QUEUED || state == pb.JobState_JOB_STATE_BACKOFF {
		return 1
	}
	return 0
}
