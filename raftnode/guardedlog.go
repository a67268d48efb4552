package raftnode

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// errStalled is what a leader hears of its own disk when it must give up its
// office.
var errStalled = errors.New("the disk has missed its deadline while another voter's works")

// guardedLog is a log store that neither hangs a leader nor fails a follower.
//
// To Raft, a leader whose disk hangs is healthy: its heartbeats go on. So a
// write that misses its deadline fails, if this node leads and another voter's
// disk answers now; that costs it its office. Nodes whose disks hang together
// (one SAN) keep theirs and wait. A follower always waits, since Raft does not
// take back the truncation that may have come before a failed append. Writes
// that fail are tried again, on a reopened store, for as long as that lasts.
type guardedLog struct {
	open      func() (logStore, error)
	monotonic bool // the store refuses gaps and repetitions
	deadline  time.Duration
	office    office
	health    *health
	metrics   *metrics
	log       hclog.Logger
	closing   chan struct{}
	floor     *floor // nil until the node's stores are known to be sound

	writing sync.Mutex // held by the one writer; guards the next three
	failed  int        // times in a row
	broken  uint64     // entries from here on, if any, are of writes that failed
	writer  sync.WaitGroup

	mu    sync.RWMutex // guards store; held for writing only to replace it
	store logStore     // nil: to be opened again
}

// office is what the guard asks about this node's place in the cluster.
type office interface {
	leading() bool
	// askOthers has the other voters write to their disks, in the background.
	askOthers()
	// othersWrite says whether one of them has done so within the last second.
	othersWrite() bool
}

// IsMonotonic tells Raft that after a snapshot of another node the old log must
// go as a whole.
func (g *guardedLog) IsMonotonic() bool { return g.monotonic }

func (g *guardedLog) FirstIndex() (index uint64, err error) {
	err = g.read(func(s logStore) error { index, err = s.FirstIndex(); return err })
	return index, err
}

func (g *guardedLog) LastIndex() (index uint64, err error) {
	err = g.read(func(s logStore) error { index, err = s.LastIndex(); return err })
	return index, err
}

func (g *guardedLog) GetLog(index uint64, l *raft.Log) error {
	err := g.read(func(s logStore) error { return s.GetLog(index, l) })
	if errors.Is(err, errChecksum) {
		return explainStore("read", "log store", fmt.Errorf("entry %d: %w", index, err))
	}
	return err
}

func (g *guardedLog) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

func (g *guardedLog) StoreLogs(logs []*raft.Log) error {
	w := newWrite("append", func(s logStore) error { return s.StoreLogs(logs) })
	w.first = logs[0].Index
	if err := g.write(w); err != nil {
		return err
	}
	return g.floor.begin(logs[len(logs)-1].Index)
}

// deleteChunk is how many entries are deleted in one transaction: appends take
// turns with a long deletion.
const deleteChunk = 256

// DeleteRange deletes from the front, or, of a suffix, from the end, so that it
// never leaves a gap.
func (g *guardedLog) DeleteRange(first, last uint64) error {
	begin, err := g.FirstIndex()
	if err != nil || last < begin || last < first {
		return err
	}
	end, err := g.LastIndex()
	if err != nil {
		return err
	}
	prefix := first <= begin
	first = max(first, begin)
	if last >= end {
		if err := g.floor.lower(first); err != nil {
			return err
		}
	}
	if g.monotonic { // it drops whole files
		return g.deleteRange(first, last)
	}
	for last-first >= deleteChunk {
		from, to := last-deleteChunk+1, last
		if prefix {
			from, to = first, first+deleteChunk-1
		}
		if err := g.deleteRange(from, to); err != nil {
			return err
		}
		if prefix {
			first = to + 1
		} else {
			last = from - 1
		}
	}
	return g.deleteRange(first, last)
}

func (g *guardedLog) deleteRange(first, last uint64) error {
	return g.write(newWrite("delete", func(s logStore) error { return s.DeleteRange(first, last) }))
}

// write has w performed, and waits for it as long as the office allows.
func (g *guardedLog) write(w *write) error {
	begun := time.Now()
	g.writer.Go(func() { g.perform(w) })
	pause := time.NewTimer(g.deadline / 2)
	defer pause.Stop()
	for {
		select {
		case <-w.done:
			g.metrics.store.WithLabelValues(w.op).Observe(time.Since(begun).Seconds())
			return w.err
		case <-pause.C:
		}
		if waited := time.Since(begun); waited >= g.deadline {
			g.late(w, waited)
			if w.first > 0 && g.office.leading() && g.office.othersWrite() && w.giveUp() {
				g.metrics.givenUp.Inc()
				return fmt.Errorf("append to the log: %w", errStalled)
			}
		}
		if g.office.leading() {
			g.office.askOthers()
		}
		pause.Reset(min(g.deadline/2, 200*time.Millisecond))
		if waited := time.Since(begun); waited < g.deadline {
			pause.Reset(g.deadline - waited)
		}
	}
}

func (g *guardedLog) late(w *write, waited time.Duration) {
	if g.health.known("log store") {
		return // an error, such as a full disk, says more
	}
	if g.health.bad("log store", w.op+" has not ended") {
		g.metrics.stalls.Inc()
		g.log.Warn("the log store does not answer; waiting for it", "op", w.op, "waited", waited.Round(time.Millisecond))
	}
}

// perform executes w on a working store, trying again until it succeeds, has
// been given up, or the node stops.
func (g *guardedLog) perform(w *write) {
	g.writing.Lock()
	defer g.writing.Unlock()
	for !w.givenUp() {
		err := g.attempt(w)
		if err == nil {
			g.recovered()
			break
		}
		if w.first > 0 && (g.broken == 0 || w.first < g.broken) {
			g.broken = w.first
		}
		if g.stopping() {
			w.finish(ErrClosed)
			return
		}
		g.setFailed(w, err)
	}
	if !w.finish(nil) { // nobody waits any more, and Raft holds that it failed
		g.broken = w.first
		if err := g.prepare(); err != nil {
			g.setFailed(w, err)
		}
	}
}

func (g *guardedLog) attempt(w *write) error {
	if err := g.prepare(); err != nil {
		return err
	}
	return w.do(g.store)
}

// prepare leaves an open store that holds what Raft believes it does.
func (g *guardedLog) prepare() error {
	if err := g.reopen(); err != nil {
		return err
	}
	return g.repair()
}

// repair removes what failed writes may have left: Raft counts on its absence.
func (g *guardedLog) repair() error {
	if g.broken == 0 {
		return nil
	}
	last, err := g.store.LastIndex()
	if err == nil && last >= g.broken {
		err = g.store.DeleteRange(g.broken, last)
	}
	if err != nil {
		return fmt.Errorf("remove entries of failed writes: %w", err)
	}
	g.broken = 0
	return nil
}

// reopen makes the store usable after errors.
func (g *guardedLog) reopen() error {
	if g.failed < 2 && g.store != nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store != nil {
		g.log.Debug("closing the failed log store", "error", g.store.Close())
		g.store = nil
	}
	store, err := g.open()
	if err != nil {
		return err
	}
	g.store = store
	g.metrics.reopened.Inc()
	return nil
}

// setFailed notes a failed attempt and waits before the next one.
func (g *guardedLog) setFailed(w *write, err error) {
	g.failed++
	if g.health.bad("log store", err.Error()) {
		g.log.Warn("the log store fails; trying again", "op", w.op, "error", err)
	}
	select {
	case <-time.After(backoff(g.failed)):
	case <-w.abandoned:
	case <-g.closing:
	}
}

func (g *guardedLog) recovered() {
	g.failed = 0
	if was, after := g.health.good("log store"); was {
		g.log.Info("the log store works again", "after", after.Round(time.Millisecond))
	}
}

func (g *guardedLog) stopping() bool {
	select {
	case <-g.closing:
		return true
	default:
		return false
	}
}

// readPatience is how long a read is tried again. Raft ends the process when it
// cannot read an entry that it must apply.
const readPatience = 10 * time.Second

func (g *guardedLog) read(do func(logStore) error) error {
	for begun, tries := time.Now(), 1; ; tries++ {
		g.mu.RLock()
		err := errors.New("the store is being opened again")
		if g.store != nil {
			err = do(g.store)
		}
		g.mu.RUnlock()
		if err == nil || errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, errChecksum) || g.stopping() {
			return err
		}
		if time.Since(begun) > readPatience {
			return explainStore("read", "log store", err)
		}
		select {
		case <-time.After(backoff(tries)):
		case <-g.closing:
		}
	}
}

// settle waits until no write is left that was given up.
func (g *guardedLog) settle() {
	g.writing.Lock()
	defer g.writing.Unlock()
}

// noteFloor returns a last write to the stable store, of how far the log is when
// the node stops. It is none while the disk gives trouble.
func (g *guardedLog) noteFloor() func() {
	if g.floor == nil || g.health.String() != "" || !g.writing.TryLock() {
		return func() {}
	}
	defer g.writing.Unlock()
	last, err := g.store.LastIndex()
	if err != nil || g.broken > 0 {
		return func() {}
	}
	return func() { g.floor.raise(last) }
}

// close waits at most a moment for a write that hangs.
func (g *guardedLog) close() error {
	ended := make(chan struct{})
	go func() { g.writer.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(stopPatience):
		return errors.New("close log store: a write has not ended")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store == nil {
		return nil
	}
	return g.store.Close()
}

// backoff is the pause after the given number of failures in a row.
func backoff(failures int) time.Duration {
	return min(10*time.Millisecond<<min(failures, 10), time.Second)
}
