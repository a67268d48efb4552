package spool

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// SyncEvery is how often Run writes what changed to stable storage. Most logs
// are sealed and gone before that and never cost an fsync.
const SyncEvery = 5 * time.Second

// Errors that callers tell apart.
var (
	ErrFull     = errors.New("spool full")
	ErrExists   = errors.New("spool has a log of this lease already")
	ErrFinished = errors.New("log is finished")
)

// ID names a log: the lease under which it is written, and the attempt.
type ID struct {
	Lease   uint64
	Job     uint64
	Attempt uint32
}

// End is what a finished log is: its length in bytes and its digest.
type End struct {
	Bytes  int64
	SHA256 [sha256.Size]byte
}

// Spool is the set of logs that the cluster has not sealed yet. All methods may
// be called concurrently.
type Spool struct {
	medium medium
	budget int64
	wake   chan struct{}

	mu      sync.Mutex
	used    int64
	logs    map[uint64]*Log
	changed []*Log
	emptied chan struct{} // closed when the last log goes; nil while nobody waits
}

// medium is where logs live: a directory, or memory.
type medium interface {
	// create makes an empty log.
	create(id ID) (backing, error)
	// settle makes the names of logs durable.
	settle() error
	String() string
}

// backing is the bytes of one log. Log serialises all calls but sync.
type backing interface {
	// append leaves room for tailRoom bytes more, or writes nothing; the last
	// bytes may use that.
	append(p []byte, last bool) (int, error)
	readAt(p []byte, off int64) (int, error)
	finish(End) error
	remove() error
	close() error
	sync() error
}

func newSpool(m medium, budget int64) *Spool {
	return &Spool{medium: m, budget: budget, wake: make(chan struct{}, 1), logs: make(map[uint64]*Log)}
}

// Memory is a spool that lives and dies with the process, of at most budget
// bytes, for simulated workers.
func Memory(budget int64) *Spool {
	return newSpool(memory{}, budget)
}

// Create begins the log of an attempt.
func (s *Spool) Create(id ID) (*Log, error) {
	l := &Log{id: id, spool: s, hash: sha256.New()}
	if err := s.enter(l); err != nil {
		return nil, err
	}
	file, err := s.medium.create(id)
	if err != nil {
		s.leave(l, 0)
		return nil, fmt.Errorf("create log of lease %d: %w", id.Lease, err)
	}
	l.attach(file)
	s.touch(l)
	return l, nil
}

func (s *Spool) enter(l *Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.logs[l.id.Lease]; ok {
		return fmt.Errorf("create log of lease %d: %w", l.id.Lease, ErrExists)
	}
	if s.used >= s.budget {
		return s.full()
	}
	s.logs[l.id.Lease] = l
	return nil
}

func (s *Spool) leave(l *Log, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[l.id.Lease] == l {
		delete(s.logs, l.id.Lease)
	}
	s.used -= bytes
	if len(s.logs) == 0 && s.emptied != nil {
		close(s.emptied)
		s.emptied = nil
	}
}

// WaitEmpty returns nil once the spool holds no log, which is when the cluster
// has taken them all.
func (s *Spool) WaitEmpty(ctx context.Context) error {
	for {
		s.mu.Lock()
		if len(s.logs) == 0 {
			s.mu.Unlock()
			return nil
		}
		if s.emptied == nil {
			s.emptied = make(chan struct{})
		}
		emptied, left := s.emptied, len(s.logs)
		s.mu.Unlock()
		select {
		case <-emptied:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d logs to be sealed: %w", left, context.Cause(ctx))
		}
	}
}

// full is called with mu held.
func (s *Spool) full() error {
	return fmt.Errorf("%w: %d logs that no cluster node has sealed yet fill %d of %d bytes in %s; "+
		"check the worker's connection to the cluster or give the spool more room",
		ErrFull, len(s.logs), s.used, s.budget, s.medium)
}

// reserve takes n bytes of the budget; release gives them back.
func (s *Spool) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.budget {
		return s.full()
	}
	s.used += n
	return nil
}

// reserveTail takes what the end of a log may have beyond the budget.
func (s *Spool) reserveTail(n int64) { s.release(-n) }

func (s *Spool) release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
}

// Get finds the log of a lease.
func (s *Spool) Get(lease uint64) (*Log, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logs[lease]
	return l, ok
}

// Pending returns every log of the spool, oldest lease first, also those from
// before a restart. The owner finishes the ones whose process is gone.
func (s *Spool) Pending() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	slices.SortFunc(logs, func(a, b *Log) int { return cmp.Compare(a.id.Lease, b.id.Lease) })
	return logs
}

// Drop forgets the log of a lease and frees its room. Dropping what is not
// there does nothing. Later writes to the log are accepted and thrown away: an
// attempt does not fail because nobody wants its log.
func (s *Spool) Drop(lease uint64) error {
	l, ok := s.Get(lease)
	if !ok {
		return nil
	}
	size, err := l.drop()
	s.leave(l, size)
	if err != nil {
		return fmt.Errorf("drop log of lease %d: %w", lease, err)
	}
	return nil
}

// Usage returns how many logs the spool holds, their bytes and the budget.
func (s *Spool) Usage() (logs int, bytes, budget int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.logs), s.used, s.budget
}

// Changed wakes its one reader when TakeChanged has something to give.
func (s *Spool) Changed() <-chan struct{} { return s.wake }

// TakeChanged returns the logs that were made, grew or finished since the last
// call, each once, in the order of their first change.
func (s *Spool) TakeChanged() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.changed
	s.changed = nil
	for _, l := range taken {
		l.queued = false
	}
	return taken
}

func (s *Spool) touch(l *Log) {
	s.mu.Lock()
	fresh := !l.queued
	if fresh {
		l.queued = true
		s.changed = append(s.changed, l)
	}
	s.mu.Unlock()
	if fresh {
		s.poke()
	}
}

func (s *Spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run syncs changed logs every SyncEvery until ctx ends, then once more. It
// reports failures to failed and goes on: the logs are in the page cache still.
func (s *Spool) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := s.Sync(); err != nil {
				failed(err)
			}
			return
		case <-tick.C:
			if err := s.Sync(); err != nil {
				failed(err)
			}
		}
	}
}

// Sync makes all that was written before the call survive a machine crash.
func (s *Spool) Sync() error {
	var errs []error
	synced := 0
	for _, l := range s.Pending() {
		done, err := l.sync()
		if done {
			synced++
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sync log of lease %d: %w", l.id.Lease, err))
		}
	}
	if synced > 0 {
		errs = append(errs, s.medium.settle())
	}
	return errors.Join(errs...)
}

// Close closes the files. The logs stay.
func (s *Spool) Close() error {
	var errs []error
	for _, l := range s.Pending() {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
