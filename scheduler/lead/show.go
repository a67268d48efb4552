package lead

import (
	"fmt"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/plan"
)

// ShowPool is a pool as only the leader sees it: what waits and why, what each
// worker does, and how far the clients are ahead of their shares. At most limit
// jobs are listed of the queue, and of each worker. The pool's own record is left
// to the caller.
func (l *Leader) ShowPool(name string, limit int) (*pb.PoolView, error) {
	t, err := l.current()
	if err != nil {
		return nil, err
	}
	workers := l.Workers(name)
	view := &pb.PoolView{}
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[name]
	if !ok {
		return nil, noPool(name)
	}
	t.store.View(func(s *fsm.State) {
		view.Queue, view.Shares = plan.ShowQueue(s, name, limit), plan.ShowShares(s, name)
		for _, w := range workers {
			view.Workers = append(view.Workers, p.plan.ShowWorker(s, w, limit))
		}
	})
	p.plan.Tell(view.Queue)
	if p.pause != nil {
		for _, q := range view.Queue {
			q.Why = "its pool " + p.pause.Words()
		}
	}
	return view, nil
}

// ShowWorker is a worker with the jobs that it runs, and those that wait for it;
// at most limit of each are listed.
func (l *Leader) ShowWorker(pool, name string, limit int) (view *pb.WorkerView, err error) {
	t, err := l.current()
	if err != nil {
		return nil, err
	}
	var found *pb.Worker
	l.store.View(func(s *fsm.State) {
		if w, ok := s.Worker(pool, name); ok {
			found = fsm.WorkerPB(w)
		}
	})
	if found == nil {
		return nil, &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("there is no worker %q in pool %q: weir worker list shows those that are", name, pool)}
	}
	t.describe([]*pb.Worker{found})
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[pool]
	if !ok {
		return nil, noPool(pool)
	}
	t.store.View(func(s *fsm.State) { view = p.plan.ShowWorker(s, found, limit) })
	return view, nil
}
