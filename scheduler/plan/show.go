package plan

import (
	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// What follows shows a pool to an operator: the same for the leader and for a
// simulation.

// ShowQueue lists the first jobs of a pool's backlog, at most so many. Tell then
// adds why they wait.
func ShowQueue(s *fsm.State, pool string, most int) (queue []*pb.JobView) {
	for j := range s.Queue(pool) {
		if len(queue) == most {
			break
		}
		queue = append(queue, jobView(j))
	}
	return queue
}

// ShowShares lists what the clients have in a pool.
func ShowShares(s *fsm.State, pool string) (shares []*pb.ShareView) {
	for h := range s.Shares(pool) {
		v := &pb.ShareView{
			Client: h.Client, Waiting: int64(h.Waiting), Running: int64(h.Running), AheadMs: max(h.Next-s.Now(), 0),
		}
		if c, ok := s.Client(h.Client); ok {
			v.Rate = c.Rate
		}
		shares = append(shares, v)
	}
	return shares
}

// Tell adds to the head of the backlog why its jobs wait, and for which worker if
// it is one.
func (p *Pool) Tell(queue []*pb.JobView) {
	for ahead, q := range queue {
		id := fsm.JobID(q.Job)
		q.Why = p.Explain(id, ahead).Why
		if j, ok := p.jobs[id]; ok && j.worker != nil {
			q.Worker = j.worker.name
		}
	}
}

// ShowWorker adds to a worker what it runs and what waits for it, at most so many
// jobs of each.
func (p *Pool) ShowWorker(s *fsm.State, w *pb.Worker, most int) *pb.WorkerView {
	v := &pb.WorkerView{Worker: w}
	for j := range s.WorkerLeases(w.Pool, w.Name) {
		if len(v.Running) == most {
			break
		}
		v.Running = append(v.Running, jobView(j))
	}
	known, ok := p.workers[w.Name]
	if !ok {
		return v
	}
	v.WorkloadMs, v.ReservedJobs = known.workload, uint32(known.reserved.Len())
	known.reserved.Scan(func(r *job) bool {
		if j, err := s.Job(r.id); err == nil {
			v.Reserved = append(v.Reserved, jobView(j))
		}
		return len(v.Reserved) < most
	})
	return v
}

func jobView(j *fsm.Job) *pb.JobView {
	v := &pb.JobView{
		Job: uint64(j.ID), Client: j.Client, CacheHint: j.Hint, Urgent: j.Urgent, Slots: j.Slots,
		SubmittedMs: j.Submitted, FairStartMs: j.FairStart,
	}
	if j.Running() {
		v.Worker, v.StartedMs = j.Worker(), j.Last().Started
	}
	return v
}
