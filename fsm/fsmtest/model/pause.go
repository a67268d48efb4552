package model

import (
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func (m *Model) pauseWorkers(c *pb.PauseWorkers) fsm.Result {
	if _, ok := m.livePool(c.GetPool()); !ok {
		return refuse(fsm.NotFound)
	}
	if len(c.GetNames()) == 0 {
		return refuse(fsm.Invalid)
	}
	for _, name := range c.GetNames() {
		if m.workers[[2]string{c.GetPool(), name}] == nil {
			return refuse(fsm.NotFound)
		}
	}
	repeat := true
	for _, w := range m.workersByName() {
		if w.Pool != c.GetPool() || !slices.Contains(c.GetNames(), w.Name) {
			continue
		}
		next, changed := m.pauseNext(w.Pause, c.GetResume(), c.GetReason())
		if changed {
			repeat = false
			w.Pause = next
			m.emit(fsm.Event{Kind: fsm.WorkerPaused, Pool: w.Pool, Worker: w.Name})
		}
	}
	return fsm.Result{Repeat: repeat}
}

func (m *Model) pausePool(c *pb.PausePool) fsm.Result {
	p, ok := m.livePool(c.GetName())
	if !ok {
		return refuse(fsm.NotFound)
	}
	next, changed := m.pauseNext(p.pause, c.GetResume(), c.GetReason())
	if !changed {
		return fsm.Result{Repeat: true}
	}
	p.pause = next
	m.emit(fsm.Event{Kind: fsm.PoolChanged, Pool: c.GetName()})
	return fsm.Result{}
}

func (m *Model) pauseNext(old *fsm.Pause, resume bool, reason string) (next *fsm.Pause, changed bool) {
	switch {
	case resume:
		return nil, old != nil
	case old == nil:
		return &fsm.Pause{Since: m.now, Reason: reason}, true
	}
	return &fsm.Pause{Since: old.Since, Reason: reason}, old.Reason != reason
}

func showPause(p *fsm.Pause) string {
	if p == nil {
		return ""
	}
	return ", paused: " + p.Reason
}
