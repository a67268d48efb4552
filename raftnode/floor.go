package raftnode

import (
	"errors"
	"fmt"
	"sync"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// floorKey names the floor in the stable store.
var floorKey = []byte("weir-log-floor")

// floor is an entry that the log on the disk is known to have reached. Stores
// take a lost tail for a write that a crash cut short, and a lost file for a new
// one. A node that went on like that could elect a leader that lacks what it has
// acknowledged. So it refuses a log that ends below the floor and below the
// newest snapshot.
//
// The floor rises with the first entry, and when the node starts and stops, and
// is lowered before entries are taken back: it costs a running node nothing. A
// nil floor is none.
type floor struct {
	stable *guardedStable

	mu    sync.Mutex
	index uint64
}

func readFloor(stable stableStore, path string) (uint64, error) {
	index, err := stable.GetUint64(floorKey)
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, explainStore("read", path, err)
	}
	return index, nil
}

// checkFloor refuses a log that ends at last when it had been further.
func checkFloor(path string, last, snapshot, floor uint64) error {
	if max(last, snapshot) >= floor {
		return nil
	}
	return explainStore("read log store", path,
		fmt.Errorf("it ends at entry %d and had reached entry %d, which no snapshot in %s has", last, floor, snapshotDir))
}

// checkTerm refuses a stable store that has forgotten the term beside a log: the
// node could vote again in a term in which it has voted.
func checkTerm(stable stableStore, path string) error {
	term, err := stable.GetUint64(termKey)
	if err == nil && term == 0 || errors.Is(err, raftboltdb.ErrKeyNotFound) {
		err = errors.New("it knows no term, and the log has entries")
	}
	if err != nil {
		return explainStore("read", path, err)
	}
	return nil
}

// begin notes the first entry of a log.
func (f *floor) begin(last uint64) error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.index > 0 {
		return nil
	}
	return f.set(last)
}

// lower is called before the entries from first on are taken back.
func (f *floor) lower(first uint64) error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.index < first {
		return nil
	}
	return f.set(first - 1)
}

func (f *floor) set(index uint64) error {
	if err := f.stable.SetUint64(floorKey, index); err != nil {
		return err
	}
	f.index = index
	return nil
}

// raise notes how far the log is now. It tries once: a lower floor only protects
// less.
func (f *floor) raise(last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last <= f.index {
		return
	}
	if f.stable.attempt(func(s stableStore) error { return s.SetUint64(floorKey, last) }) == nil {
		f.index = last
	}
}
