package sim

import (
	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Show is the pool and its workers as an operator is shown them.
func (c *Cluster) Show() (*pb.Pool, []*pb.Worker) {
	p, _ := c.state.Pool(Pool)
	pool := fsm.PoolPB(p)
	pool.Effective = p.Limits().Config()
	pool.Effective.LeaseTtlMs = c.leaseTTL().Milliseconds()
	var workers []*pb.Worker
	for registered := range c.state.Workers(Pool) {
		shown := fsm.WorkerPB(registered)
		shown.State = "disconnected"
		w := c.find(registered.Name)
		if w != nil && w.connected {
			shown.Connected, shown.State = true, "ready"
			pool.WorkersConnected++
		}
		switch {
		case w != nil && w.paused:
			shown.State = "paused"
		case shown.Connected:
			pool.FreeSlots += int64(registered.Free())
		}
		workers = append(workers, shown)
	}
	return pool, workers
}
