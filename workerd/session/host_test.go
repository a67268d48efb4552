package session

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

const deadline = 20 * time.Second

// fakeHost is a worker that records what it hears.
type fakeHost struct {
	mu      sync.Mutex
	running []uint64
	results map[uint64]*pb.Outcome
	grants  []uint64
	stops   []*pb.Stop
	acks    []*pb.FinishAck
	welcome []*pb.Welcome
}

func (h *fakeHost) Running() (all []*pb.RunningAttempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, lease := range h.running {
		all = append(all, &pb.RunningAttempt{Lease: lease})
	}
	return all
}

func (h *fakeHost) HighestLease() uint64     { return 99 }
func (h *fakeHost) Status() *pb.WorkerStatus { return &pb.WorkerStatus{Ready: true} }

func (h *fakeHost) Results() (all []*pb.FinishedAttempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, lease := range slices.Sorted(maps.Keys(h.results)) {
		all = append(all, &pb.FinishedAttempt{Lease: lease, Outcome: h.results[lease]})
	}
	return all
}

func (h *fakeHost) Welcome(w *pb.Welcome) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.welcome = append(h.welcome, w)
	return nil
}

func (h *fakeHost) Grants(gs []*pb.Grant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range gs {
		h.grants = append(h.grants, g.Lease)
	}
}

func (h *fakeHost) Stops(ss []*pb.Stop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stops = append(h.stops, ss...)
}

func (h *fakeHost) FinishAcks(as []*pb.FinishAck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = append(h.acks, as...)
	for _, a := range as {
		delete(h.results, a.Lease)
	}
}

func (h *fakeHost) finish(s *Session, lease uint64) {
	o := &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}
	h.mu.Lock()
	if h.results == nil {
		h.results = map[uint64]*pb.Outcome{}
	}
	h.results[lease] = o
	h.mu.Unlock()
	s.Finished(&pb.FinishedAttempt{Lease: lease, Outcome: o})
}

// worker is a session under test and its host.
type worker struct {
	*Session
	host *fakeHost
	done chan struct{}
	err  error
}

// start runs a session until the test ends. change, if any, may alter it first.
func start(t *testing.T, c *sessiontest.Cluster, change func(*Session), nodes ...*sessiontest.Node) *worker {
	t.Helper()
	host := &fakeHost{}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{t}})
	s := New(Config{Capability: c.Capability(t, nodes...), Pool: "p", Name: "w", InstanceKey: []byte("key"), Slots: 2, Version: "test"},
		host, log, nil)
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &worker{Session: s, host: host, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-w.done
	})
	return w
}

// testWriter logs through the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p[:len(p)-1])
	return len(p), nil
}

// next receives from a channel within the deadline.
func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(deadline):
		t.Fatalf("waited %v for %s", deadline, what)
		panic("unreachable")
	}
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("waited %v for %s", deadline, what)
		}
	}
}

// nextUp receives messages until one satisfies want.
func nextUp(t *testing.T, l *sessiontest.Leader, what string, want func(*pb.WorkerMessage) bool) *pb.WorkerMessage {
	t.Helper()
	over := time.After(deadline)
	for {
		select {
		case m := <-l.Ups:
			if want(m) {
				return m
			}
		case <-over:
			t.Fatalf("waited %v for %s", deadline, what)
		}
	}
}

func finishes(lease uint64) func(*pb.WorkerMessage) bool {
	return func(m *pb.WorkerMessage) bool {
		return slices.ContainsFunc(m.Finished, func(f *pb.FinishedAttempt) bool { return f.Lease == lease })
	}
}
