package raftnode

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// beats has a leader's heartbeats to its followers leave together. Raft sends
// each at a random time between a tenth and a fifth of the timeout after the
// last; if each waits for the latest, none is late by Raft's own measure, and
// an idle leader wakes up half as often. The first to a follower, and those that
// Raft sends sooner because a read waits for them, take along what waits and wait
// for nothing.
type beats struct {
	patience time.Duration // a tenth of the timeout

	mu      sync.Mutex
	beating map[raft.ServerID]time.Time // followers that answered their last one, and when
	waiting map[raft.ServerID]bool
	depart  chan struct{} // closed when all that beat wait
}

func newBeats(heartbeat time.Duration) *beats {
	return &beats{
		patience: heartbeat / 10, beating: map[raft.ServerID]time.Time{}, waiting: map[raft.ServerID]bool{},
		depart: make(chan struct{}),
	}
}

// isHeartbeat tells them from empty appends, which say where the log is.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return len(r.Entries) == 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && r.LeaderCommitIndex == 0
}

// wait returns when the heartbeat to a follower should leave. A follower that is
// not beating any more holds the others up once.
func (b *beats) wait(id raft.ServerID) {
	b.mu.Lock()
	last, beats := b.beating[id]
	b.waiting[id] = true
	if !beats || time.Since(last) < b.patience || b.complete() {
		b.release()
		b.mu.Unlock()
		return
	}
	depart := b.depart
	b.mu.Unlock()
	patience := time.NewTimer(b.patience)
	defer patience.Stop()
	select {
	case <-depart:
	case <-patience.C:
		b.giveUp(depart)
	}
}

func (b *beats) complete() bool {
	for id := range b.beating {
		if !b.waiting[id] {
			return false
		}
	}
	return true
}

func (b *beats) release() {
	clear(b.waiting)
	close(b.depart)
	b.depart = make(chan struct{})
}

// giveUp lets all leave that wait, and expects only those the next time.
func (b *beats) giveUp(depart chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.depart != depart {
		return // they have left just now
	}
	for id := range b.beating {
		if !b.waiting[id] {
			delete(b.beating, id)
		}
	}
	b.release()
}

// answered notes whether a follower beats.
func (b *beats) answered(id raft.ServerID, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		delete(b.beating, id)
		return
	}
	b.beating[id] = time.Now()
}
