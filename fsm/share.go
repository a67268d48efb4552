package fsm

// charge gives a job its fair start time, and moves its client's share on by what
// the job is expected to cost: the client's next job starts that much later,
// divided by the client's rate.
func (s *State) charge(j *Job, p *Pool, client *Client) {
	h := s.changeShare(p.Name, client.Name)
	j.FairStart = max(s.now, h.Next)
	j.Charge = int64(float64(s.cost(j, p)) / client.Rate)
	h.Next = min(j.FairStart+j.Charge, maxTime)
}

// cost estimates a job: it is cheap if a worker of the pool has its hint, or will
// have it because another job with that hint waits.
func (s *State) cost(j *Job, p *Pool) int64 {
	cached, uncached := s.Estimate(p, j.Client, j.Hint)
	if j.Hint != "" && (s.hintKnown(p.Name, j.Hint) || s.hintPending(p.Name, j.Hint)) {
		return cached
	}
	return uncached
}

// dropIfGone drops a share once its client is removed and has no more jobs there.
func (s *State) dropIfGone(h *Share) {
	if h.Waiting > 0 || h.Running > 0 {
		return
	}
	if _, ok := s.Client(h.Client); !ok {
		s.shares.del(h)
	}
}
