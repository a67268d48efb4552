package disk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// opener opens a segment's file; tests put one in between that fails.
type opener func(path string, flag int) (file, error)

// maxBatch is how many bytes of a log one write takes at most.
const maxBatch = 1 << 20

// writer appends records to the active segment. What it wrote can be read at
// once and is durable after a flush.
//
// Locks are taken in the order shard, writer, Store.mu.
type writer struct {
	store *Store

	mu      sync.Mutex
	active  *segment
	dirty   []*segment  // written to since the last flush began
	newDir  bool        // a segment was made since then
	running *flush      // under way
	next    *flush      // begins when running ends, nil: nobody asked
	broken  error       // a flush failed: nothing is written until repair has succeeded
	failed  atomic.Bool // the same, to be asked without the lock
	tried   time.Time   // the last attempt to repair
	closed  bool
	buf     []byte
}

// flush is one round of making things durable, shared by all who wait for it.
type flush struct {
	done chan struct{}
	err  error // set before done is closed
}

// frame is a record to be written, with its data.
type frame struct {
	record
	data []byte
}

// write appends frames next to each other and returns the place of the first;
// the others follow it without a gap. Nothing is written when it fails.
func (w *writer) write(frames ...frame) (place, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return place{}, err
	}
	var total int64
	for i := range frames {
		frames[i].length, frames[i].crc = uint32(len(frames[i].data)), checksum(frames[i].data)
		total += frames[i].size()
	}
	if err := w.makeRoom(total); err != nil {
		return place{}, err
	}
	g := w.active
	w.buf = w.buf[:0]
	for _, f := range frames {
		at := len(w.buf)
		w.buf = append(w.buf, make([]byte, headerSize)...)
		f.encode(w.buf[at:], &g.salt, uint32(g.size)+uint32(at))
		w.buf = append(w.buf, f.data...)
	}
	if _, err := g.f.WriteAt(w.buf, g.size); err != nil {
		// The next write goes to the same place; what was written of this one is
		// cut off for the case that there is none.
		return place{}, diskError("write to segment "+g.path, errors.Join(err, g.f.Truncate(g.size)))
	}
	at := place{g.id, uint32(g.size)}
	g.size += total
	if len(w.dirty) == 0 || w.dirty[len(w.dirty)-1] != g {
		w.dirty = append(w.dirty, g)
	}
	return at, nil
}

func (w *writer) usable() error {
	if w.closed {
		return logstore.ErrClosed
	}
	return w.broken
}

// makeRoom closes the active segment when it is full and begins another.
func (w *writer) makeRoom(size int64) error {
	if w.active != nil && (w.active.size+size <= w.store.opts.SegmentBytes || w.active.size == preambleSize) {
		return nil
	}
	s := w.store
	s.mu.Lock()
	id := s.ix.nextSeg
	s.mu.Unlock()
	g, err := createSegment(s.opts.open, s.opts.Dir, id)
	if err != nil {
		return diskError("begin segment", err)
	}
	s.mu.Lock()
	s.ix.segs[id], s.ix.nextSeg = g, id+1
	if w.active != nil {
		w.active.closed = true
	}
	s.mu.Unlock()
	w.active, w.newDir = g, true
	wake(s.work)
	return nil
}

// join returns the flush that covers everything written so far, nil when all of
// it is durable.
func (w *writer) join() (*flush, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return nil, err
	}
	return w.joinLocked(), nil
}

func (w *writer) joinLocked() *flush {
	if len(w.dirty) == 0 && !w.newDir {
		return w.running
	}
	if w.next == nil {
		w.next = &flush{done: make(chan struct{})}
	}
	f := w.next
	if w.running == nil {
		w.start()
	}
	return f
}

// target is a segment and how much of it a flush covers.
type target struct {
	seg  *segment
	size int64
}

// start begins the next flush. The writer is locked.
func (w *writer) start() {
	f, newDir := w.next, w.newDir
	var targets []target
	for _, g := range w.dirty {
		targets = append(targets, target{g, g.size})
	}
	w.running, w.next, w.dirty, w.newDir = f, nil, nil, false
	ix := w.store.rotateFloors()
	w.store.flushes.Go(func() {
		f.err = w.datasync(targets, newDir)
		w.finish(f, targets, ix)
	})
}

func (w *writer) datasync(targets []target, newDir bool) error {
	defer w.store.metrics.synced()()
	for _, t := range targets {
		if err := t.seg.f.Datasync(); err != nil {
			return diskError("sync segment "+t.seg.path, err)
		}
	}
	if newDir {
		if err := syncDir(w.store.opts.Dir); err != nil {
			return diskError("sync directory "+w.store.opts.Dir, err)
		}
	}
	return nil
}

// finish ends a flush and begins the one that was asked for meanwhile.
func (w *writer) finish(f *flush, targets []target, ix *index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(f.done)
	w.running = nil
	if f.err != nil {
		// The kernel has forgotten which pages it could not write: what it shows
		// of them is not what the disk has. Only what was durable can be trusted.
		w.broken = f.err
		w.failed.Store(true)
		if w.next != nil {
			w.next.err = f.err
			close(w.next.done)
			w.next = nil
		}
		return
	}
	for _, t := range targets {
		t.seg.durable = max(t.seg.durable, t.size)
	}
	w.store.clearFloors(ix)
	if w.next != nil {
		w.start()
	}
}

// diskError says what failed, and recognisably so when there is no room.
func diskError(what string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%s: %w: %w", what, logstore.ErrFull, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
