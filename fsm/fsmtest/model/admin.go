package model

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func (m *Model) applyAdmin(c *pb.Command) fsm.Result {
	switch op := c.GetOp().(type) {
	case *pb.Command_RegisterWorker:
		return m.register(op.RegisterWorker)
	case *pb.Command_ForgetWorker:
		return m.forget(op.ForgetWorker)
	case *pb.Command_CreatePool:
		return m.createPool(op.CreatePool)
	case *pb.Command_UpdatePool:
		return m.updatePool(op.UpdatePool)
	case *pb.Command_DeletePool:
		return m.deletePool(op.DeletePool)
	case *pb.Command_AddClient:
		return m.addClient(op.AddClient)
	case *pb.Command_RemoveClient:
		return m.removeClient(op.RemoveClient)
	case *pb.Command_SetClientRate:
		return m.setRate(op.SetClientRate)
	case *pb.Command_CreateCapability:
		return m.createCapability(op.CreateCapability)
	case *pb.Command_RevokeCapability:
		return m.revokeCapability(op.RevokeCapability)
	case *pb.Command_PauseWorkers:
		return m.pauseWorkers(op.PauseWorkers)
	case *pb.Command_FreePermit:
		return m.freePermit(op.FreePermit)
	case *pb.Command_SetClientLimit:
		return m.setLimit(op.SetClientLimit)
	case *pb.Command_PausePool:
		return m.pausePool(op.PausePool)
	case *pb.Command_RecordChange:
		if op.RecordChange.GetAction() == "" {
			return refuse(fsm.Invalid)
		}
		return fsm.Result{}
	case *pb.Command_Tell:
		return m.tell(op.Tell)
	}
	panic(fmt.Sprintf("model: unknown command %T", c.GetOp()))
}

func (m *Model) register(c *pb.RegisterWorker) fsm.Result {
	w := &fsm.Worker{Pool: c.GetPool(), Name: c.GetName(), Key: fsm.Digest(c.GetKeySha256()), Slots: max(c.GetSlots(), 1), Version: c.GetVersion(), FirstSeen: m.now,
		Capability: c.GetCapability()}
	for _, l := range c.GetLabels() {
		w.Labels = append(w.Labels, fsm.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	if _, ok := m.livePool(w.Pool); !ok {
		return refuse(fsm.NotFound)
	}
	id := [2]string{w.Pool, w.Name}
	if old := m.workers[id]; old != nil && old.Key == w.Key {
		w.FirstSeen, w.Pause = old.FirstSeen, old.Pause
		if w.Slots == old.Slots && w.Capability == old.Capability && slices.Equal(w.Labels, old.Labels) {
			return fsm.Result{Worker: w.Name, Repeat: true}
		}
	} else if old != nil {
		if !c.GetReplace() || len(m.held(old)) > 0 {
			return refuse(fsm.Conflict)
		}
		w.Pause = old.Pause
		m.dropHints(w.Pool, w.Name)
	}
	m.workers[id] = w
	m.emit(fsm.Event{Kind: fsm.WorkerRegistered, Pool: w.Pool, Worker: w.Name})
	return fsm.Result{Worker: w.Name}
}

func (m *Model) dropHints(pool, worker string) {
	maps.DeleteFunc(m.hints, func(pair [3]string, _ int64) bool { return pair[0] == pool && pair[2] == worker })
}

func (m *Model) forget(c *pb.ForgetWorker) fsm.Result {
	w := m.workers[[2]string{c.GetPool(), c.GetName()}]
	switch {
	case w == nil:
		return refuse(fsm.NotFound)
	case len(m.held(w)) > 0:
		return refuse(fsm.Refused)
	}
	m.drop(w)
	return fsm.Result{Worker: w.Name}
}

func (m *Model) drop(w *fsm.Worker) {
	delete(m.workers, [2]string{w.Pool, w.Name})
	m.dropHints(w.Pool, w.Name)
	m.emit(fsm.Event{Kind: fsm.WorkerForgotten, Pool: w.Pool, Worker: w.Name})
}

func (m *Model) createPool(c *pb.CreatePool) fsm.Result {
	if fsm.ValidatePoolConfig(c.GetConfig()) != nil {
		return refuse(fsm.Invalid)
	}
	if _, ok := m.livePool(c.GetName()); ok {
		return refuse(fsm.Conflict)
	}
	m.pools[c.GetName()] = &pool{config: c.GetConfig(), created: m.now}
	m.emit(fsm.Event{Kind: fsm.PoolChanged, Pool: c.GetName()})
	return fsm.Result{}
}

func (m *Model) updatePool(c *pb.UpdatePool) fsm.Result {
	p, ok := m.livePool(c.GetName())
	switch {
	case !ok:
		return refuse(fsm.NotFound)
	case fsm.ValidatePoolConfig(c.GetConfig()) != nil:
		return refuse(fsm.Invalid)
	case proto.Equal(p.config, c.GetConfig()):
		return fsm.Result{Repeat: true}
	case c.Base != nil && !proto.Equal(p.config, c.Base):
		return refuse(fsm.Conflict)
	}
	p.config = c.GetConfig()
	m.emit(fsm.Event{Kind: fsm.PoolChanged, Pool: c.GetName()})
	return fsm.Result{}
}

func (m *Model) deletePool(c *pb.DeletePool) fsm.Result {
	name := c.GetName()
	p, ok := m.livePool(name)
	switch {
	case !ok:
		return refuse(fsm.NotFound)
	case m.count(name, "", queued, backoff, running) > 0:
		return refuse(fsm.Refused)
	}
	for _, w := range m.workersByName() {
		if w.Pool == name {
			m.drop(w)
		}
	}
	for _, cp := range m.caps {
		if cp.Kind == pb.CapabilityKind_CAPABILITY_WORKER && cp.Pools[0] == name {
			m.revoke(cp)
		}
	}
	maps.DeleteFunc(m.urgents, func(share [2]string, _ *urgents) bool { return share[0] == name })
	maps.DeleteFunc(m.next, func(share [2]string, _ int64) bool { return share[0] == name })
	maps.DeleteFunc(m.costs, func(key [3]string, _ *averages) bool { return key[0] == name })
	p.deleted = true
	if m.count(name, "", settled) == 0 {
		delete(m.pools, name)
	}
	m.emit(fsm.Event{Kind: fsm.PoolDeleted, Pool: name})
	return fsm.Result{}
}

func (m *Model) addClient(c *pb.AddClient) fsm.Result {
	rate := c.GetRate()
	if rate == 0 {
		rate = 1
	}
	if _, ok := m.clients[c.GetName()]; ok {
		return refuse(fsm.Conflict)
	}
	m.clients[c.GetName()] = rate
	m.emit(fsm.Event{Kind: fsm.ClientChanged, Client: c.GetName()})
	return fsm.Result{}
}

func (m *Model) removeClient(c *pb.RemoveClient) fsm.Result {
	if _, ok := m.clients[c.GetName()]; !ok {
		return refuse(fsm.NotFound)
	}
	for _, cp := range m.caps {
		if cp.Client == c.GetName() {
			m.revoke(cp)
		}
	}
	delete(m.clients, c.GetName())
	delete(m.maxRunning, c.GetName())
	m.dropShares()
	m.emit(fsm.Event{Kind: fsm.ClientChanged, Client: c.GetName()})
	return fsm.Result{}
}

func (m *Model) setRate(c *pb.SetClientRate) fsm.Result {
	rate, ok := m.clients[c.GetName()]
	switch {
	case !ok:
		return refuse(fsm.NotFound)
	case c.GetRate() == 0:
		return refuse(fsm.Invalid)
	case c.GetRate() == rate:
		return fsm.Result{Repeat: true}
	}
	m.clients[c.GetName()] = c.GetRate()
	m.emit(fsm.Event{Kind: fsm.ClientChanged, Client: c.GetName()})
	return fsm.Result{}
}

func (m *Model) createCapability(c *pb.CreateCapability) fsm.Result {
	v := c.GetCapability()
	cp := &fsm.Capability{Kind: v.GetKind(), Client: v.GetClient(), Token: fsm.Digest(c.GetTokenSha256()), Created: m.now}
	cp.Pools = slices.Compact(slices.Sorted(slices.Values(v.GetPools())))
	if !wellFormed(cp, c.GetFirstAdmin()) {
		return refuse(fsm.Invalid)
	}
	for _, old := range m.caps {
		if old.Token != cp.Token {
			continue
		}
		if old.Revoked == 0 && old.Kind == cp.Kind && old.Client == cp.Client && slices.Equal(old.Pools, cp.Pools) {
			return fsm.Result{ID: old.ID, Repeat: true}
		}
		return refuse(fsm.Conflict)
	}
	if c.GetFirstAdmin() && m.adminMade {
		return refuse(fsm.Refused)
	}
	if _, ok := m.clients[cp.Client]; cp.Client != "" && !ok {
		return refuse(fsm.NotFound)
	}
	for _, name := range cp.Pools {
		if _, ok := m.livePool(name); !ok {
			return refuse(fsm.NotFound)
		}
	}
	m.caps = append(m.caps, cp)
	cp.ID = fmt.Sprintf("cap-%d", len(m.caps))
	m.adminMade = m.adminMade || cp.Kind == pb.CapabilityKind_CAPABILITY_ADMIN
	m.emit(fsm.Event{Kind: fsm.CapabilityCreated, Capability: cp.ID, Client: cp.Client})
	return fsm.Result{ID: cp.ID}
}

func wellFormed(c *fsm.Capability, first bool) bool {
	switch c.Kind {
	case pb.CapabilityKind_CAPABILITY_ADMIN:
		return len(c.Pools) == 0
	case pb.CapabilityKind_CAPABILITY_WORKER:
		return len(c.Pools) == 1 && !first
	case pb.CapabilityKind_CAPABILITY_SUBMIT, pb.CapabilityKind_CAPABILITY_OPERATOR, pb.CapabilityKind_CAPABILITY_READ:
		return !first
	}
	return false
}

func (m *Model) revokeCapability(c *pb.RevokeCapability) fsm.Result {
	admins := 0
	var found *fsm.Capability
	for _, cp := range m.caps {
		if cp.ID == c.GetId() {
			found = cp
		}
		if cp.Kind == pb.CapabilityKind_CAPABILITY_ADMIN && cp.Revoked == 0 {
			admins++
		}
	}
	switch {
	case found == nil:
		return refuse(fsm.NotFound)
	case found.Revoked != 0:
		return fsm.Result{ID: found.ID, Repeat: true}
	case found.Kind == pb.CapabilityKind_CAPABILITY_ADMIN && admins == 1:
		return refuse(fsm.Refused)
	}
	m.revoke(found)
	return fsm.Result{ID: found.ID}
}

func (m *Model) revoke(c *fsm.Capability) {
	if c.Revoked == 0 {
		c.Revoked = m.now
		m.emit(fsm.Event{Kind: fsm.CapabilityRevoked, Capability: c.ID, Client: c.Client})
	}
}

func (m *Model) tell(c *pb.Tell) fsm.Result {
	kinds := map[pb.HappeningKind]fsm.EventKind{
		pb.HappeningKind_HAPPENING_LEADER_CHANGED:      fsm.LeaderChanged,
		pb.HappeningKind_HAPPENING_WORKER_CONNECTED:    fsm.WorkerConnected,
		pb.HappeningKind_HAPPENING_WORKER_DISCONNECTED: fsm.WorkerDisconnected,
	}
	for _, h := range c.GetHappenings() {
		if kind, ok := kinds[h.GetKind()]; ok {
			m.emit(fsm.Event{Kind: kind, Pool: h.GetPool(), Worker: h.GetWorker()})
		}
	}
	return fsm.Result{}
}
