package model

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func states(s ...pb.JobState) []pb.JobState { return s }

func showPool(p *fsm.Pool) string {
	return fmt.Sprintf("%s since %d: queued %d, back-off %d, running %d, settled %d, workers %d, hints %d%s",
		p.Name, p.Created, p.Queued, p.Backoff, p.Running, p.Settled, p.Workers, p.Hints, showPause(p.Pause))
}

func (m *Model) showPools() string {
	var pools []*fsm.Pool
	for _, name := range slices.Sorted(maps.Keys(m.pools)) {
		if m.pools[name].deleted {
			continue
		}
		p := &fsm.Pool{
			Name: name, Created: m.pools[name].created, Pause: m.pools[name].pause, Queued: m.count(name, "", queued),
			Backoff: m.count(name, "", backoff), Running: m.count(name, "", running), Settled: m.count(name, "", settled),
		}
		for _, w := range m.workers {
			if w.Pool == name {
				p.Workers++
			}
		}
		for pair := range m.hints {
			if pair[0] == name {
				p.Hints++
			}
		}
		pools = append(pools, p)
	}
	return lines(pools, showPool)
}

func showWorker(w *fsm.Worker) string {
	return fmt.Sprintf("%s/%s since %d: slots %d, free %d, leases %d, labels %v, key %x, capability %q%s",
		w.Pool, w.Name, w.FirstSeen, w.Slots, w.Free(), w.Leases, w.Labels, w.Key[:4], w.Capability, showPause(w.Pause))
}

func (m *Model) showWorkers() string {
	return lines(m.workersByName(), func(w *fsm.Worker) string {
		counted := *w
		for _, j := range m.held(w) {
			counted.Leases++
			counted.Used += j.Slots
		}
		return showWorker(&counted)
	})
}

func showShare(h *fsm.Share) string {
	return fmt.Sprintf("%s/%s: next %d, waiting %d, running %d", h.Pool, h.Client, h.Next, h.Waiting, h.Running)
}

func (m *Model) showShares() string {
	shown := map[[2]string]string{}
	for share, next := range m.next {
		shown[share] = showShare(&fsm.Share{
			Pool: share[0], Client: share[1], Next: next,
			Waiting: m.count(share[0], share[1], queued, backoff), Running: m.count(share[0], share[1], running),
		})
	}
	return lines(slices.Sorted(maps.Values(shown)), func(s string) string { return s })
}

func showClient(c *fsm.Client) string {
	return fmt.Sprintf("%s at rate %v, at most %d", c.Name, c.Rate, c.MaxRunning)
}

func (m *Model) showClients() string {
	return lines(slices.Sorted(maps.Keys(m.clients)), func(name string) string {
		return showClient(&fsm.Client{Name: name, Rate: m.clients[name], MaxRunning: m.maxRunning[name]})
	})
}

func showCapability(c *fsm.Capability) string {
	return fmt.Sprintf("%s %v client %q pools %v since %d, revoked %d", c.ID, c.Kind, c.Client, c.Pools, c.Created, c.Revoked)
}
