package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// Log is one attempt's log. One goroutine writes; any may read.
type Log struct {
	id    ID
	spool *Spool

	queued bool // guarded by spool.mu

	mu      sync.RWMutex
	file    backing
	size    int64
	hash    hash.Hash // of the first size bytes; nil after a restart, until needed
	end     End
	ended   bool
	dropped bool
	dirty   bool // changed since the last sync
	cut     *cut // nil while everything fitted
}

// ID names the log.
func (l *Log) ID() ID { return l.id }

func (l *Log) attach(file backing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = file
	l.dirty = true
}

// Write appends p. The bytes survive the process once it returns. A build does not
// fail because its log has no room: over the spool's budget, and on a full disk,
// the log is cut off, see [Log.Cut], and Write goes on as if it wrote.
func (l *Log) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := l.write(p)
	if n > 0 {
		l.spool.touch(l)
	}
	return n, err
}

func (l *Log) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.dropped:
		return len(p), nil
	case l.ended:
		return 0, fmt.Errorf("write log of lease %d: %w", l.id.Lease, ErrFinished)
	}
	if err := l.rehash(); err != nil {
		return 0, err
	}
	n, err := 0, error(nil)
	if l.cut == nil {
		if n, err = l.fit(p); isFull(err) {
			err = l.cutOff(err)
		}
	}
	if err != nil {
		return n, fmt.Errorf("write log of lease %d: %w", l.id.Lease, err)
	}
	if l.cut != nil {
		l.cut.keep(p[n:])
	}
	return len(p), nil
}

// fit appends what the budget allows, all or nothing; mu is held.
func (l *Log) fit(p []byte) (int, error) {
	if err := l.spool.reserve(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := l.add(p, false)
	l.spool.release(int64(len(p) - n))
	return n, err
}

// add appends to the file; mu is held.
func (l *Log) add(p []byte, last bool) (int, error) {
	n, err := l.file.append(p, last)
	l.hash.Write(p[:n])
	l.size += int64(n)
	l.dirty = true
	return n, err
}

// rehash reads back a log that was begun before a restart.
func (l *Log) rehash() error {
	if l.hash != nil {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(readerAt(l.file.readAt), 0, l.size)); err != nil {
		return fmt.Errorf("read back log of lease %d: %w", l.id.Lease, err)
	}
	l.hash = h
	return nil
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// Finish fixes the log: no byte can follow, and its length and digest survive
// the process. Finishing again gives the same answer.
func (l *Log) Finish() (End, error) {
	end, err := l.finish()
	if err == nil {
		l.spool.touch(l)
	}
	return end, err
}

func (l *Log) finish() (End, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.dropped {
		return l.end, nil
	}
	if err := l.rehash(); err != nil {
		return End{}, err
	}
	if err := l.lastWords(); err != nil {
		return End{}, fmt.Errorf("finish log of lease %d: %w", l.id.Lease, err)
	}
	end := End{Bytes: l.size}
	l.hash.Sum(end.SHA256[:0])
	if err := l.file.finish(end); err != nil {
		return End{}, fmt.Errorf("finish log of lease %d: %w", l.id.Lease, err)
	}
	l.end, l.ended, l.dirty, l.hash = end, true, true, nil
	return end, nil
}

// Close finishes the log.
func (l *Log) Close() error {
	_, err := l.Finish()
	return err
}

// Size is how many bytes the log has.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.size
}

// End is the finished log's; ok is false while it may still grow.
func (l *Log) End() (end End, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end, l.ended
}

// ReadAt reads what was written at off. It gives io.EOF at the end as it is
// now, and for a log that was dropped.
func (l *Log) ReadAt(p []byte, off int64) (int, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.dropped || off >= l.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > l.size-off
	if short {
		p = p[:l.size-off]
	}
	n, err := l.file.readAt(p, off)
	if err != nil && !(errors.Is(err, io.EOF) && n == len(p)) {
		return n, fmt.Errorf("read log of lease %d: %w", l.id.Lease, err)
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// drop throws the log away and says how many bytes that frees.
func (l *Log) drop() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped {
		return 0, nil
	}
	size := l.size
	l.dropped, l.size, l.hash, l.dirty = true, 0, nil, false
	if l.file == nil {
		return size, nil
	}
	return size, l.file.remove()
}

// sync makes the log durable if it changed; done says that it did something.
// The lock is not held meanwhile: a slow disk must not stall the build.
func (l *Log) sync() (done bool, err error) {
	l.mu.Lock()
	file, dirty := l.file, l.dirty && !l.dropped
	l.dirty = false
	l.mu.Unlock()
	if !dirty || file == nil {
		return false, nil
	}
	if err := file.sync(); err != nil {
		l.mu.Lock()
		l.dirty = !l.dropped
		l.mu.Unlock()
		return true, err
	}
	return true, nil
}

func (l *Log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.close()
}
