package raftnode

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Faults makes a node's disk misbehave, for tests: its writes hang, or fail.
// Reads are not affected, as those of a stalled device mostly come from memory.
type Faults struct {
	mu      sync.Mutex
	stalled chan struct{} // closed when writes go on; nil: they do
	fail    func() error
}

// Stall makes writes hang until Resume.
func (f *Faults) Stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stalled == nil {
		f.stalled = make(chan struct{})
	}
}

// Resume ends a stall: what hung goes on.
func (f *Faults) Resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stalled != nil {
		close(f.stalled)
		f.stalled = nil
	}
}

// Fail makes each write return what fail returns, when that is an error; nil
// ends it.
func (f *Faults) Fail(fail func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// before is called before each write.
func (f *Faults) before() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	stalled, fail := f.stalled, f.fail
	f.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	if fail != nil {
		return fail()
	}
	return nil
}

// logStore is what the node needs of its log store.
type logStore interface {
	raft.LogStore
	raft.MonotonicLogStore
	Close() error
}

// faultyLog is a log store with faults.
type faultyLog struct {
	logStore
	faults *Faults
}

func (s *faultyLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *faultyLog) StoreLogs(logs []*raft.Log) error {
	if err := s.faults.before(); err != nil {
		return err
	}
	return s.logStore.StoreLogs(logs)
}

func (s *faultyLog) DeleteRange(first, last uint64) error {
	if err := s.faults.before(); err != nil {
		return err
	}
	return s.logStore.DeleteRange(first, last)
}

// stableStore is what the node needs of its stable store.
type stableStore interface {
	raft.StableStore
	Close() error
}

// faultyStable is a stable store with faults.
type faultyStable struct {
	stableStore
	faults *Faults
}

func (s *faultyStable) Set(key, value []byte) error {
	if err := s.faults.before(); err != nil {
		return err
	}
	return s.stableStore.Set(key, value)
}

func (s *faultyStable) SetUint64(key []byte, value uint64) error {
	if err := s.faults.before(); err != nil {
		return err
	}
	return s.stableStore.SetUint64(key, value)
}
