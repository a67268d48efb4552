package raftnode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Names in the data directory.
const (
	boltLogFile = "log.db"
	walLogDir   = "log"
	stableFile  = "stable.db"
	snapshotDir = "snapshots" // the name is the snapshot store's own
)

// retained is how many snapshots are kept.
const retained = 2

// walSegment is the size of a segment of the wal log store.
const walSegment = 64 << 20

// boltLog is a bolt file as a log store.
type boltLog struct{ *raftboltdb.BoltStore }

func (boltLog) IsMonotonic() bool { return false }

func (c *Config) openLog() (logStore, error) {
	var store logStore
	switch c.LogStore {
	case WAL:
		w, err := c.openWAL(filepath.Join(c.DataDir, walLogDir))
		if err != nil {
			return nil, err
		}
		store = w
	default:
		b, err := openBolt(filepath.Join(c.DataDir, boltLogFile))
		if err != nil {
			return nil, err
		}
		store = boltLog{b}
	}
	return &faultyLog{checkedLog{store}, c.Faults}, nil
}

func (c *Config) openWAL(dir string) (w *wal.WAL, err error) {
	defer faultsAsPanics()()
	defer recoverCorruption(dir, &err)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explainDisk("make log store", dir, err)
	}
	if err := checkBolt(filepath.Join(dir, metadb.FileName)); err != nil {
		return nil, err
	}
	segment := walSegment
	if c.walSegment > 0 {
		segment = c.walSegment
	}
	if w, err = wal.Open(dir, wal.WithLogger(c.Logger.Named("wal")), wal.WithSegmentSize(segment)); err != nil {
		return nil, explainStore("open log store", dir, err)
	}
	return w, nil
}

func (c *Config) openStable() (stableStore, error) {
	b, err := openBolt(filepath.Join(c.DataDir, stableFile))
	if err != nil {
		return nil, err
	}
	return &faultyStable{b, c.Faults}, nil
}

// openBolt opens a bolt file. The free list is found by a scan instead of being
// written with every commit.
func openBolt(path string) (store *raftboltdb.BoltStore, err error) {
	defer faultsAsPanics()()
	defer recoverCorruption(path, &err)
	if err := checkBolt(path); err != nil {
		return nil, err
	}
	store, err = raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		BoltOptions:             &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, explainStore("open store", path, err)
	}
	return store, nil
}

// checkBolt finds a file that is shorter than it says, before more of it is
// touched, which would kill the process, and damaged pages: bolt's own scan of
// them, in a goroutine of its own, ends with a panic that nobody can recover.
func checkBolt(path string) (err error) {
	defer faultsAsPanics()()
	defer recoverCorruption(path, &err)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return explainDisk("open store", path, err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if err != nil {
		return explainStore("open store", path, err)
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return explainStore("open store", path, fmt.Errorf("it is cut off: %d bytes of %d", info.Size(), tx.Size()))
		}
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}

// checkLog reads the whole log, and refuses one that has damaged entries, that
// does not follow the snapshots, or that ends before it had reached floor. It
// returns where the log and the newest snapshot end.
func checkLog(path string, store raft.LogStore, snapshots raft.SnapshotStore, floor uint64) (last, snapshot uint64, err error) {
	defer faultsAsPanics()()
	defer recoverCorruption(path, &err)
	first, err := store.FirstIndex()
	if err != nil {
		return 0, 0, explainStore("read log store", path, err)
	}
	last, err = store.LastIndex()
	if err != nil {
		return 0, 0, explainStore("read log store", path, err)
	}
	for index := max(first, 1); index <= last; index++ {
		if err := store.GetLog(index, &raft.Log{}); err != nil {
			return 0, 0, explainStore("read log store", path, fmt.Errorf("entry %d: %w", index, err))
		}
	}
	metas, err := snapshots.List()
	if err != nil {
		return 0, 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(metas) > 0 {
		snapshot = metas[0].Index
	}
	if first > snapshot+1 {
		return 0, 0, explainStore("read log store", path,
			fmt.Errorf("it begins at entry %d, and the newest readable snapshot in %s ends at %d", first, snapshotDir, snapshot))
	}
	return last, snapshot, checkFloor(path, last, snapshot, floor)
}

func openSnapshots(dir string, log hclog.Logger) (*raft.FileSnapshotStore, error) {
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, retained, log)
	if err != nil {
		return nil, explainDisk("open snapshots in", dir, err)
	}
	path := filepath.Join(dir, snapshotDir)
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, explainDisk("open snapshots in", dir, err)
	}
	leftovers, err := filepath.Glob(filepath.Join(path, "*.tmp"))
	for _, l := range leftovers { // of a process that was killed while writing one
		err = errors.Join(err, os.RemoveAll(l))
	}
	if err != nil {
		return nil, explainDisk("clean snapshots in", path, err)
	}
	return store, nil
}

// explainStore says what an unusable store means for the operator.
func explainStore(operation, path string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%s %s: another process has it open", operation, path)
	}
	if explained := explainDisk(operation, path, err); explained.Error() != fmt.Sprintf("%s %s: %v", operation, path, err) {
		return explained
	}
	return fmt.Errorf("%s %s: %w: it is damaged; if the other nodes are alive, move the data directory away and start empty, so that this node joins again", operation, path, err)
}

// recoverCorruption turns the panic with which a store meets damaged pages into
// an error.
func recoverCorruption(path string, err *error) {
	if p := recover(); p != nil {
		*err = explainStore("read", path, fmt.Errorf("%v", p))
	}
}

// faultsAsPanics makes reading a part of a mapped file that is gone a panic,
// which can be recovered, instead of the process's end. It returns how to undo it.
func faultsAsPanics() (undo func()) {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}

// logPath is where the log store is.
func (c *Config) logPath() string {
	if c.LogStore == WAL {
		return filepath.Join(c.DataDir, walLogDir)
	}
	return filepath.Join(c.DataDir, boltLogFile)
}
