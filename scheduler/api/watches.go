package api

import (
	"sync"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// maxSettled is how many settled jobs wait for a slow reader of WatchSettled.
const maxSettled = 1 << 16

// fullRefresh is after how many seconds every waiting watcher looks again, also
// when nothing has happened in its pool.
const fullRefresh = 5

// watches knows who waits for which job. An event costs what the watchers of
// its own job cost, however many others there are.
type watches struct {
	mu      sync.Mutex
	jobs    map[fsm.JobID]map[*jobWatch]struct{}
	waiting map[string]map[*jobWatch]struct{}     // by pool: watchers of jobs that wait
	settled map[string]map[*settledWatch]struct{} // by client; "" gets all
	dirty   map[string]bool                       // pools in which something has happened
	ticks   int

	some chan struct{} // wakes the refresher when the first watcher waits
}

// jobWatch is one Watch.
type jobWatch struct {
	id   fsm.JobID
	wake chan struct{}
	seen sight  // as it was sent last; the handler's own
	pool string // under which it is in waiting; empty: it is not

	keeper string // whose job ends with this stream; empty: nobody's
}

// settledWatch is one WatchSettled.
type settledWatch struct {
	id   auth.Identity
	wake chan struct{}

	mu   sync.Mutex
	next *pb.SettledJobs
	lost bool
}

func newWatches() *watches {
	return &watches{
		jobs: map[fsm.JobID]map[*jobWatch]struct{}{}, waiting: map[string]map[*jobWatch]struct{}{},
		settled: map[string]map[*settledWatch]struct{}{}, dirty: map[string]bool{}, some: make(chan struct{}, 1),
	}
}

func (w *watches) watchJob(id fsm.JobID) *jobWatch {
	watch := &jobWatch{id: id, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	insert(w.jobs, id, watch)
	return watch
}

func (w *watches) forgetJob(watch *jobWatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	remove(w.jobs, watch.id, watch)
	if watch.pool != "" {
		remove(w.waiting, watch.pool, watch)
	}
}

// waits notes whether a watcher's job waits, so that news of its pool reach it.
func (w *watches) waits(watch *jobWatch, pool string, waiting bool) {
	if !waiting {
		pool = ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch.pool == pool {
		return
	}
	if watch.pool != "" {
		remove(w.waiting, watch.pool, watch)
	}
	if watch.pool = pool; pool != "" {
		insert(w.waiting, pool, watch)
		poke(w.some)
	}
}

func (w *watches) watchSettled(id auth.Identity) *settledWatch {
	watch := &settledWatch{id: id, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	insert(w.settled, id.Client, watch)
	return watch
}

func (w *watches) forgetSettled(watch *settledWatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	remove(w.settled, watch.id.Client, watch)
}

// tell passes events on.
func (w *watches) tell(events []fsm.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.jobs) == 0 && len(w.settled) == 0 {
		return
	}
	for i := range events {
		w.tellOne(&events[i])
	}
}

func (w *watches) tellOne(e *fsm.Event) {
	for watch := range w.jobs[e.Job] {
		poke(watch.wake)
	}
	if len(w.waiting[e.Pool]) > 0 {
		w.dirty[e.Pool] = true
	}
	if e.Kind != fsm.JobSettled || len(w.settled) == 0 {
		return
	}
	for watch := range w.settled[e.Client] {
		watch.add(e)
	}
	if e.Client != "" {
		for watch := range w.settled[""] {
			watch.add(e)
		}
	}
}

// lost says that events were missed: every watcher of a job looks for itself,
// and those who count on each event are told.
func (w *watches) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, watchers := range w.jobs {
		for watch := range watchers {
			poke(watch.wake)
		}
	}
	for _, watchers := range w.settled {
		for watch := range watchers {
			watch.miss()
		}
	}
}

// refresh wakes the watchers of waiting jobs in pools where something has
// happened, and now and then all; false when there are none.
func (w *watches) refresh() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticks++
	for pool, watchers := range w.waiting {
		if !w.dirty[pool] && w.ticks%fullRefresh != 0 {
			continue
		}
		for watch := range watchers {
			poke(watch.wake)
		}
	}
	clear(w.dirty)
	return len(w.waiting) > 0
}

func (s *settledWatch) add(e *fsm.Event) {
	if !s.id.InPool(e.Pool) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = &pb.SettledJobs{}
	}
	if len(s.next.Jobs) >= maxSettled {
		s.lost = true
	} else {
		s.next.Jobs = append(s.next.Jobs, uint64(e.Job))
		s.next.Outcomes = append(s.next.Outcomes, e.Outcome)
	}
	poke(s.wake)
}

func (s *settledWatch) miss() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	poke(s.wake)
}

// take returns what has settled since the last call.
func (s *settledWatch) take() (*pb.SettledJobs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return nil, &fsm.Refusal{Kind: fsm.Full, Message: "some settled jobs were missed because more than the stream could carry settled at once: list the jobs, then watch again"}
	}
	batch := s.next
	s.next = nil
	if batch == nil {
		batch = &pb.SettledJobs{}
	}
	return batch, nil
}

func insert[K comparable, W comparable](m map[K]map[W]struct{}, k K, w W) {
	if m[k] == nil {
		m[k] = map[W]struct{}{}
	}
	m[k][w] = struct{}{}
}

func remove[K comparable, W comparable](m map[K]map[W]struct{}, k K, w W) {
	delete(m[k], w)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// poke wakes whoever waits on a channel that holds one token.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
