package fsm

// Priorities order the jobs of one client. Their places in the queue stay the
// client's: a job that starts before others of its client uses up the first of
// their places, and the job that had it takes its own. So a client gets no more
// than its share, however it orders its jobs.

// trade gives next, a copy of j that is about to start, the place of another job of
// its client. It does nothing where the planner's view was an old one.
func (s *State) trade(j, next *Job, with JobID) {
	other, ok := s.jobs.get(with)
	if !ok || !mayTrade(j, other) {
		return
	}
	moved := clone(other)
	moved.FairStart, next.FairStart = j.FairStart, other.FairStart
	s.unlink(other)
	s.jobs.set(moved.ID, moved)
	s.link(moved)
	s.emitJob(JobMoved, moved)
}

func mayTrade(j, other *Job) bool {
	return other.State == j.State && other.Pool == j.Pool && other.Client == j.Client && other.Urgent == j.Urgent &&
		other.Priority < j.Priority && queueLess(other, j)
}
