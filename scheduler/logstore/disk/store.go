package disk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// Defaults of Options.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultBudgetBytes  = 10 << 30

	minSegmentBytes = 4 << 10
	maxSegmentBytes = 1 << 30
)

// Options configures a store.
type Options struct {
	Dir          string // made if missing, mode 0700
	SegmentBytes int64  // size at which a segment is closed; 4 KiB to 1 GiB, 0: 64 MiB
	BudgetBytes  int64  // for all files; at least 4 segments, 0: 10 GiB

	// OnExpire is told which logs were removed to keep the budget. It is called
	// by Run, between rounds.
	OnExpire func(keys []logstore.Key)

	Logger     hclog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics

	open opener
}

func (o Options) check() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.BudgetBytes == 0 {
		o.BudgetBytes = DefaultBudgetBytes
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.open == nil {
		o.open = openFile
	}
	switch {
	case o.Dir == "":
		return o, errors.New("no directory given")
	case o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes:
		return o, fmt.Errorf("a segment of %d bytes: want %d to %d", o.SegmentBytes, minSegmentBytes, maxSegmentBytes)
	case o.BudgetBytes < 4*o.SegmentBytes:
		return o, fmt.Errorf("a byte budget of %d: want at least 4 segments, %d", o.BudgetBytes, 4*o.SegmentBytes)
	}
	return o, nil
}

// Store is a [logstore.Store] on a directory. Run keeps its size.
type Store struct {
	opts     Options
	metrics  *metrics
	lock     *os.File
	writer   *writer
	shards   [shardCount]shard
	watchers watchers
	work     chan struct{} // wakes Run
	flushes  sync.WaitGroup
	tidying  sync.Mutex // one round of housekeeping at a time

	mu      sync.RWMutex
	ix      *index
	copying bool // records are being copied forward
}

var _ logstore.Store = (*Store)(nil)

// Open reads the directory. Damage is logged and costs only the logs it touches;
// an error means that the directory cannot be used at all.
func Open(o Options) (*Store, error) {
	o, err := o.check()
	if err != nil {
		return nil, fmt.Errorf("open log store: %w", err)
	}
	if err := os.MkdirAll(o.Dir, dirMode); err != nil {
		return nil, fmt.Errorf("open log store: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open log store: %w", err)
	}
	s := &Store{opts: o, lock: lock, work: make(chan struct{}, 1)}
	s.writer = &writer{store: s}
	if s.ix, s.writer.active, err = load(o.open, o.Dir, o.Logger); err != nil {
		return nil, fmt.Errorf("open log store %s: %w", o.Dir, errors.Join(err, lock.Close()))
	}
	s.metrics = newMetrics(o.Registerer, s)
	return s, nil
}

// lockDir makes sure that no other process uses the directory.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock %s: another process uses it: %w", dir, errors.Join(err, f.Close()))
	}
	return f, nil
}

// Sync waits until everything before it is durable. The wait ends with ctx; the
// work does not.
func (s *Store) Sync(ctx context.Context) error {
	f, err := s.writer.join()
	if err != nil {
		if err = s.repair(err); err != nil {
			return fmt.Errorf("sync log store: %w", err)
		}
		// What the failed flush was to cover is gone; the caller must hear of it.
		return fmt.Errorf("sync log store: %w", errRolledBack)
	}
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return fmt.Errorf("sync log store: %w", context.Cause(ctx))
	}
	if f.err != nil {
		return fmt.Errorf("sync log store: %w", f.err)
	}
	return nil
}

// rotateFloors is called as a flush begins, with the writer locked.
func (s *Store) rotateFloors() *index {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ix.floors[0], s.ix.floors[1] = s.ix.floors[1], map[logstore.Key]int64{}
	return s.ix
}

// clearFloors is called when it has succeeded.
func (s *Store) clearFloors(ix *index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ix.floors[0] = nil
}

// Stat implements [logstore.Store].
func (s *Store) Stat(k logstore.Key) (logstore.Info, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ix.info(k)
}

// Keys implements [logstore.Store].
func (s *Store) Keys() iter.Seq2[logstore.Key, logstore.Info] {
	return func(yield func(logstore.Key, logstore.Info) bool) {
		for _, k := range s.keys() {
			if info, ok := s.Stat(k); ok && !yield(k, info) {
				return
			}
		}
	}
}

func (s *Store) keys() []logstore.Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	keys := make([]logstore.Key, 0, len(s.ix.logs)+len(s.ix.expired))
	for k := range s.ix.logs {
		keys = append(keys, k)
	}
	for k := range s.ix.expired {
		keys = append(keys, k)
	}
	return keys
}

// Usage implements [logstore.Store].
func (s *Store) Usage() logstore.Usage {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	u := logstore.Usage{
		BudgetBytes: s.opts.BudgetBytes,
		Logs:        len(s.ix.logs),
		Unsealed:    s.ix.unsealed,
		Expired:     len(s.ix.expired),
		Segments:    len(s.ix.segs),
	}
	for _, g := range s.ix.segs {
		u.DiskBytes += g.size + g.sidecar
		needed := g.live + int64(len(g.tombs))*headerSize
		u.LiveBytes += needed + g.sidecar*needed/g.size
	}
	return u
}

// Close makes everything durable, waits for what is under way and closes the
// files. End Run first.
func (s *Store) Close() error {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	err := s.Sync(context.Background())
	if errors.Is(err, logstore.ErrClosed) {
		return nil
	}
	s.writer.mu.Lock()
	s.writer.closed = true
	s.writer.mu.Unlock()
	s.flushes.Wait()
	s.metrics.unregister()
	s.mu.Lock()
	s.ix.retire()
	s.ix = newIndex()
	s.ix.closed = true
	s.mu.Unlock()
	s.watchers.wakeAll()
	return errors.Join(err, s.lock.Close())
}

// wake sends without waiting to a channel of one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
