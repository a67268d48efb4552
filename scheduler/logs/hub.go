package logs

import "sync"

// hub wakes the readers of a job's logs when the state says something new about
// the job.
type hub struct {
	mu      sync.Mutex
	readers map[uint64]map[chan struct{}]struct{} // by job
}

// join registers a reader of a job until leave is called.
func (h *hub) join(job uint64) (wake chan struct{}, leave func()) {
	wake = make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers == nil {
		h.readers = make(map[uint64]map[chan struct{}]struct{})
	}
	if h.readers[job] == nil {
		h.readers[job] = make(map[chan struct{}]struct{})
	}
	h.readers[job][wake] = struct{}{}
	return wake, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.readers[job], wake)
		if len(h.readers[job]) == 0 {
			delete(h.readers, job)
		}
	}
}

func (h *hub) job(id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.readers[id] {
		poke(c)
	}
}

func (h *hub) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, readers := range h.readers {
		for c := range readers {
			poke(c)
		}
	}
}

// count is how many reads wait or run.
func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, readers := range h.readers {
		n += len(readers)
	}
	return n
}

// poke wakes whoever waits on c, once for any number of pokes.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
