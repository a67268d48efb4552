package sim

import (
	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/plan"
)

// shownJobs is how many jobs are shown of the queue, and of each worker.
const shownJobs = 20

// Show is the pool as an operator is shown it.
func (c *Cluster) Show() *pb.PoolView {
	p, _ := c.state.Pool(Pool)
	pool := fsm.PoolPB(p)
	pool.Effective = p.Limits().Config()
	pool.Effective.LeaseTtlMs = c.leaseTTL().Milliseconds()
	view := &pb.PoolView{Pool: pool, Queue: plan.ShowQueue(c.state, Pool, shownJobs), Shares: plan.ShowShares(c.state, Pool)}
	c.plan.Tell(view.Queue)
	for registered := range c.state.Workers(Pool) {
		shown := fsm.WorkerPB(registered)
		shown.State = "disconnected"
		w := c.find(registered.Name)
		if w != nil && w.connected {
			shown.Connected, shown.State = true, "ready"
			pool.WorkersConnected++
		}
		switch {
		case registered.Pause != nil:
			shown.State = "paused"
		case shown.Connected:
			pool.FreeSlots += int64(registered.Free())
		}
		view.Workers = append(view.Workers, c.plan.ShowWorker(c.state, shown, shownJobs))
	}
	return view
}
