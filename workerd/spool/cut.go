package spool

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/weirbuild/weir/workerd/room"
)

const (
	// tailRoom is what every growing log may write beyond the spool's budget, and
	// has its blocks for on the disk: the line of a cut and the last words.
	tailRoom = 4 << 10
	// maxLastWords is the longest write that is kept as the last one.
	maxLastWords = 2 << 10
)

// cut is what a log becomes that no more fits into: a line says so, what follows
// is dropped, and the last write still ends it, because that tells how it went.
type cut struct {
	why  error
	owed []byte // not written yet
	last []byte // the last write since
}

// isFull tells want of room from a broken disk.
func isFull(err error) bool { return errors.Is(err, ErrFull) || room.IsFull(err) }

// cutOff ends the log as far as its build is concerned; mu is held.
func (l *Log) cutOff(why error) error {
	said := "the disk of its worker is full"
	if errors.Is(why, ErrFull) {
		said = "the log spool of its worker is full"
	}
	l.cut = &cut{why: why, owed: fmt.Appendf(nil, "\n[weir: the rest of this job's output was dropped: %s]\n", said)}
	if err := l.settle(); !isFull(err) {
		return err
	}
	return nil // finish tries again
}

// keep remembers the newest write of a log that is cut off; mu is held.
func (c *cut) keep(p []byte) {
	if p = bytes.TrimLeft(p, "\n"); len(p) > 0 {
		c.last = append(c.last[:0], p[:min(len(p), maxLastWords)]...)
	}
}

// lastWords writes what a log that was cut off still has to say; mu is held.
func (l *Log) lastWords() error {
	if l.cut == nil {
		return nil
	}
	l.cut.owed, l.cut.last = append(l.cut.owed, l.cut.last...), nil
	return l.settle()
}

// settle writes what is owed into the room that was kept for it; mu is held.
func (l *Log) settle() error {
	n, err := l.add(l.cut.owed, true)
	l.spool.reserveTail(int64(n))
	l.cut.owed = l.cut.owed[n:]
	return err
}

// Cut says why the log was cut off, nil when it has everything that was written.
func (l *Log) Cut() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.cut == nil {
		return nil
	}
	return l.cut.why
}
