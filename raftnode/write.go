package raftnode

import "sync"

// write is one write to the log store, which its caller may stop waiting for.
type write struct {
	op        string
	do        func(logStore) error
	first     uint64 // index of the first entry to append; 0: not an append
	done      chan struct{}
	abandoned chan struct{}
	err       error // once done

	mu    sync.Mutex
	ended bool // finished or given up
}

func newWrite(op string, do func(logStore) error) *write {
	return &write{op: op, do: do, done: make(chan struct{}), abandoned: make(chan struct{})}
}

// finish hands the outcome over; false: nobody waits for it any more.
func (w *write) finish(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.ended, w.err = true, err
	close(w.done)
	return true
}

// giveUp ends the waiting; false: the outcome is there.
func (w *write) giveUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.ended = true
	close(w.abandoned)
	return true
}

func (w *write) givenUp() bool {
	select {
	case <-w.abandoned:
		return true
	default:
		return false
	}
}
