package state

import (
	"slices"
	"sync"

	"github.com/weirbuild/weir/fsm"
)

// maxPending is how many events wait for a subscriber; with more it has lost
// some.
const maxPending = 1 << 17

// Subscription is the events that this node applies from Subscribe on, in order.
type Subscription struct {
	name  string
	all   *subscriptions
	kinds [1 << 8]bool
	wake  chan struct{}

	// Guarded by all.mu.
	pending [][]fsm.Event // as the commands told them: some may be of other kinds
	count   int           // events in them that are of its kinds
	lost    bool
}

// subscriptions is all of a store's.
type subscriptions struct {
	mu   sync.Mutex
	list []*Subscription
}

// Subscribe returns a new subscription to events of the given kinds, or of all
// kinds when none is given. Close it when it is not needed any more.
func (s *Store) Subscribe(name string, kinds ...fsm.EventKind) *Subscription {
	sub := &Subscription{name: name, all: &s.subs, wake: make(chan struct{}, 1)}
	for k := range sub.kinds {
		sub.kinds[k] = len(kinds) == 0 || slices.Contains(kinds, fsm.EventKind(k))
	}
	s.subs.mu.Lock()
	defer s.subs.mu.Unlock()
	s.subs.list = append(s.subs.list, sub)
	return sub
}

// Ready receives when there is something to Take.
func (s *Subscription) Ready() <-chan struct{} { return s.wake }

// Take returns the events since the last call, in buf's memory if that is large
// enough; the slice is the caller's until it passes it back. When lost is set,
// some events are missing, before or among these: drop what you know, Reset
// within a View, and read the state.
func (s *Subscription) Take(buf []fsm.Event) (events []fsm.Event, lost bool) {
	clear(buf)
	s.all.mu.Lock()
	pending := s.pending
	s.pending, s.count = nil, 0
	lost, s.lost = s.lost, false
	s.all.mu.Unlock()
	events = buf[:0]
	for _, some := range pending { // nothing in them ever changes
		for i := range some {
			if s.kinds[some[i].Kind] {
				events = append(events, some[i])
			}
		}
	}
	return events, lost
}

// Reset forgets the events so far. Within a View, those that follow are exactly
// the ones that the state shown does not contain.
func (s *Subscription) Reset() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.pending, s.count, s.lost = nil, 0, false
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.list = slices.DeleteFunc(s.all.list, func(o *Subscription) bool { return o == s })
}

// publish hands the events of some results on. It never waits.
func (all *subscriptions) publish(results []fsm.Result) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range all.list {
		for i := range results {
			s.add(results[i].Events)
		}
		if s.count > 0 || s.lost {
			s.poke()
		}
	}
}

// lose tells every subscriber that it has missed something.
func (all *subscriptions) lose() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range all.list {
		s.pending, s.count, s.lost = nil, 0, true
		s.poke()
	}
}

func (s *Subscription) add(events []fsm.Event) {
	if s.lost {
		return // until Take
	}
	wanted := 0
	for i := range events {
		if s.kinds[events[i].Kind] {
			wanted++
		}
	}
	if wanted == 0 {
		return
	}
	s.pending = append(s.pending, events)
	if s.count += wanted; s.count > maxPending {
		s.pending, s.count, s.lost = nil, 0, true
	}
}

func (s *Subscription) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
