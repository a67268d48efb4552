package state

import (
	"fmt"
	"sync"

	"github.com/weirbuild/weir/fsm"
)

// maxHistory is how many events a node remembers.
const maxHistory = 1 << 16

// Position is a place between events: before the one with this number, from 0, of
// the entry at this index of the log. It is the same place on every node.
type Position struct {
	Index uint64
	Skip  uint32
}

// Past is an event that was applied, with where it is in the log.
type Past struct {
	fsm.Event
	Index    uint64
	Position uint32 // in its entry
	At       int64  // cluster time, in milliseconds
}

// GoneError says that events are not remembered any more.
type GoneError struct{ Asked, First uint64 }

// Error says what to do.
func (e *GoneError) Error() string {
	return fmt.Sprintf("events before index %d are gone, and those from %d were asked for: start from %[1]d, and look at the state for what happened until then", e.First, e.Asked)
}

// AheadError says that the log is not that long.
type AheadError struct{ Asked, Next uint64 }

// Error says what to do.
func (e *AheadError) Error() string {
	return fmt.Sprintf("events from index %d were asked for, and the log ends at %d: start from %d", e.Asked, e.Next-1, e.Next)
}

// history is the latest events that this node has applied. Readers follow at their
// own pace, and never hold up what is applied: one that is too slow finds that
// what it wants is gone.
type history struct {
	mu      sync.Mutex
	chunks  []chunk // in order; the first may belong to the middle of no entry
	events  int     // in them
	base    uint64  // events of entries from here on are all there
	next    uint64  // after the newest entry that is known
	waiting chan struct{}
}

// chunk is the events of one command.
type chunk struct {
	index    uint64
	position uint32 // of the first
	at       int64
	events   []fsm.Event
}

func newHistory() *history { return &history{base: 1, next: 1} }

// add takes in an entry's results. st is the state after it.
func (h *history) add(index uint64, results []fsm.Result, st *fsm.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	position := uint32(0)
	for i := range results {
		events := results[i].Events
		if len(events) == 0 {
			continue
		}
		h.chunks = append(h.chunks, chunk{index, position, st.Now(), explained(events, st)})
		h.events += len(events)
		position += uint32(len(events))
	}
	h.next = index + 1
	h.forget()
	if h.waiting != nil && position > 0 {
		close(h.waiting)
		h.waiting = nil
	}
}

// forget gives up the oldest entries, whole.
func (h *history) forget() {
	gone := 0
	for h.events > maxHistory && gone < len(h.chunks) {
		for index := h.chunks[gone].index; gone < len(h.chunks) && h.chunks[gone].index == index; gone++ {
			h.events -= len(h.chunks[gone].events)
			h.base = index + 1
		}
	}
	clear(h.chunks[:gone]) // append moves what is left to other memory in time
	h.chunks = h.chunks[gone:]
}

// restart follows a snapshot of the state at an index.
func (h *history) restart(index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.chunks, h.events, h.base, h.next = nil, 0, index+1, index+1
	if h.waiting != nil {
		close(h.waiting)
		h.waiting = nil
	}
}

// explained adds to changes of pools and workers whether they are paused: the
// state has it, and the events do not.
func explained(events []fsm.Event, st *fsm.State) []fsm.Event {
	own := events
	for i := range events {
		var pause *fsm.Pause
		switch e := &events[i]; e.Kind {
		case fsm.WorkerPaused:
			w, _ := st.Worker(e.Pool, e.Worker)
			if w != nil {
				pause = w.Pause
			}
		case fsm.PoolChanged:
			p, _ := st.Pool(e.Pool)
			if p == nil || p.Pause == nil {
				continue
			}
			pause = p.Pause
		default:
			continue
		}
		if &own[0] == &events[0] {
			own = append([]fsm.Event(nil), events...) // others read these
		}
		own[i].Message = "may have jobs again"
		if pause != nil {
			own[i].Message = pause.Words()
		}
	}
	return own
}

// read returns at most most events from a place on, the place after them, and,
// when there are none yet, a channel that is closed when there may be.
func (h *history) read(from Position, most int) (found []Past, next Position, wait <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from.Index < h.base {
		return nil, from, nil, &GoneError{from.Index, h.base}
	}
	next = from
	for _, c := range h.chunks[h.search(from.Index):] {
		if c.index != next.Index {
			next = Position{Index: c.index}
		}
		for i := range c.events {
			p := c.position + uint32(i)
			if p < next.Skip {
				continue
			}
			if len(found) == most {
				return found, next, nil, nil
			}
			found = append(found, Past{c.events[i], c.index, p, c.at})
			next.Skip = p + 1
		}
	}
	if h.next > next.Index {
		next = Position{Index: h.next}
	}
	if len(found) > 0 {
		return found, next, nil, nil
	}
	if h.waiting == nil {
		h.waiting = make(chan struct{})
	}
	return nil, next, h.waiting, nil
}

// search is the number of the first chunk at or after an index.
func (h *history) search(index uint64) int {
	low, high := 0, len(h.chunks)
	for low < high {
		if mid := (low + high) / 2; h.chunks[mid].index < index {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// End is the place after the newest event that this node has applied.
func (s *Store) End() Position {
	h := s.machine.history
	h.mu.Lock()
	defer h.mu.Unlock()
	return Position{Index: h.next}
}

// Events returns at most most events that this node has applied, from a place on,
// and the place after them. When there are none yet, wait is closed as soon as
// there may be. A *GoneError says that this node does not have them any more.
func (s *Store) Events(from Position, most int) (found []Past, next Position, wait <-chan struct{}, err error) {
	return s.machine.history.read(from, most)
}
