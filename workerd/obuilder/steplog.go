package obuilder

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
)

const (
	maxStepLog = 256 << 20 // how much of a step's output is kept
	maxRest    = 64 << 10  // how much of it when the disk takes no more
)

// stepLog is the log of a step that runs: one writes, many read from the start.
type stepLog struct {
	file *os.File

	mu      sync.Mutex
	size    int64
	fault   error  // of the file, which takes no more
	rest    []byte // what came then: it tells why the command fails as well
	ended   bool
	changed chan struct{} // closed at the next change
	readers int
}

// createLog begins a log that has one reader already.
func createLog(path string) (*stepLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &stepLog{file: f, changed: make(chan struct{}), readers: 1}, nil
}

// Write keeps output up to the limit, then one line that says so. It fails only
// when there is much more output than the disk takes.
func (l *stepLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size >= maxStepLog {
		return len(p), nil
	}
	kept := p
	if left := maxStepLog - l.size; int64(len(p)) > left {
		kept = fmt.Appendf(p[:left:left], "\n[the rest of this step's output was dropped: the limit is %d bytes]\n", maxStepLog)
	}
	n := 0
	if l.fault == nil {
		n, l.fault = l.file.Write(kept)
	}
	if l.fault != nil {
		more := kept[n:min(len(kept), n+maxRest-len(l.rest))]
		l.rest = append(l.rest, more...)
		n += len(more)
	}
	l.size += int64(n)
	close(l.changed)
	l.changed = make(chan struct{})
	if n < len(kept) {
		return min(n, len(p)), l.fault
	}
	return len(p), nil
}

// failed is why the log cannot be kept.
func (l *stepLog) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// ReadAt reads what was written, up to size.
func (l *stepLog) ReadAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	stored, rest := l.size-int64(len(l.rest)), l.rest
	l.mu.Unlock()
	if off < stored {
		return l.file.ReadAt(p[:min(int64(len(p)), stored-off)], off)
	}
	return copy(p, rest[min(off-stored, int64(len(rest))):]), nil
}

// end tells the readers that the log is whole.
func (l *stepLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.close()
}

func (l *stepLog) state() (size int64, ended bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.ended, l.changed
}

// attach adds a reader, which must call leave. The log has not ended.
func (l *stepLog) attach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers++
}

func (l *stepLog) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers--
	l.close()
}

// close closes the file once nobody needs it.
func (l *stepLog) close() {
	if l.ended && l.readers == 0 {
		_ = l.file.Close() // everything was written
	}
}

// follow copies the log to out until its end, or that of ctx.
func (l *stepLog) follow(ctx context.Context, out io.Writer) error {
	var at int64
	for {
		size, ended, changed := l.state()
		if size > at {
			if _, err := io.Copy(out, io.NewSectionReader(l, at, size-at)); err != nil {
				return fmt.Errorf("copy log: %w", err)
			}
			at = size
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
