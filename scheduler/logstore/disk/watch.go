package disk

import (
	"sync"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// watchers are those who wait for a log to change.
type watchers struct {
	mu   sync.Mutex
	keys map[logstore.Key]map[chan struct{}]struct{}
}

// Watch implements [logstore.Store].
func (s *Store) Watch(k logstore.Key) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.watchers.add(k, c)
	return c, func() { s.watchers.remove(k, c) }
}

func (w *watchers) add(k logstore.Key, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[logstore.Key]map[chan struct{}]struct{}{}
	}
	if w.keys[k] == nil {
		w.keys[k] = map[chan struct{}]struct{}{}
	}
	w.keys[k][c] = struct{}{}
}

func (w *watchers) remove(k logstore.Key, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.keys[k], c)
	if len(w.keys[k]) == 0 {
		delete(w.keys, k)
	}
}

func (w *watchers) wake(k logstore.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.keys[k] {
		wake(c)
	}
}

func (w *watchers) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cs := range w.keys {
		for c := range cs {
			wake(c)
		}
	}
}
