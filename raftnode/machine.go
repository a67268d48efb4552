package raftnode

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// replica is the machine as Raft sees it.
type replica struct {
	machine Machine
	observe func(uint64, []any)
	persist persistOptions
	log     hclog.Logger
	metrics *metrics

	applied  atomic.Uint64 // index of the last entry that the machine has seen
	bytes    atomic.Uint64 // of all entries since the cluster began: the same on every node
	commands [][]byte      // reused between entries; only Raft's own goroutine applies

	mu sync.RWMutex // guards the machine's state
}

var (
	_ raft.FSM                = (*replica)(nil)
	_ raft.ConfigurationStore = (*replica)(nil)
)

// View calls f while no command is being applied. What f sees is local, and on
// a follower or a former leader it may be old.
func (n *Node) View(f func()) {
	n.replica.mu.RLock()
	defer n.replica.mu.RUnlock()
	f()
}

// Apply executes one entry. A machine that cannot is stopped: to go on would
// make it differ from the others.
func (f *replica) Apply(l *raft.Log) any {
	commands, err := decodeEntry(l.Data, f.commands[:0])
	if err != nil {
		panic(fmt.Sprintf("raftnode: entry %d: %v", l.Index, err))
	}
	var results []any
	if len(commands) > 0 {
		f.mu.Lock()
		results = f.machine.Apply(l.Index, commands)
		f.mu.Unlock()
	}
	if len(results) != len(commands) {
		panic(fmt.Sprintf("raftnode: the machine returned %d results for the %d commands of entry %d", len(results), len(commands), l.Index))
	}
	clear(commands)
	f.commands = commands
	f.bytes.Add(uint64(len(l.Data)))
	f.applied.Store(l.Index)
	f.observe(l.Index, results)
	return results
}

// StoreConfiguration makes configuration entries count as applied. Without it a
// snapshot is refused while the latest entry is one of them.
func (f *replica) StoreConfiguration(index uint64, _ raft.Configuration) { f.applied.Store(index) }

func (f *replica) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return &persister{
		snapshot: f.machine.Snapshot(), index: f.applied.Load(), bytes: f.bytes.Load(),
		options: f.persist, metrics: f.metrics,
	}, nil
}

func (f *replica) Restore(source io.ReadCloser) error {
	begun := time.Now()
	header, state, err := openSnapshot(source)
	if err != nil {
		return err
	}
	defer state.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.machine.Restore(state); err != nil {
		return fmt.Errorf("restore state at index %d: %w", header.index, err)
	}
	if m, ok := f.machine.(interface{ RestoredAt(index uint64) }); ok {
		m.RestoredAt(header.index)
	}
	f.bytes.Store(header.bytes)
	f.applied.Store(header.index)
	f.metrics.restore.Observe(time.Since(begun).Seconds())
	f.log.Info("state restored from a snapshot", "index", header.index, "took", time.Since(begun).Round(time.Millisecond))
	return nil
}
