package raftnode

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// newTerms of a node that is never asked for anything but its metrics.
func testTerms(lead func(context.Context) error) *terms {
	return newTerms(&Node{log: testLogger("t"), metrics: newMetrics(nil), contacts: &contacts{}}, lead)
}

func TestATermWaitsForTheOneBefore(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	first := c.leader()
	term := <-first.terms

	// Its work outlives the office: what comes next must wait for it.
	var running atomic.Int32
	release := make(chan struct{})
	next := testTerms(nil)
	next.node = first.node
	overlapped := false
	next.lead = func(ctx context.Context) error {
		if running.Add(1) > 1 {
			overlapped = true
		}
		<-ctx.Done()
		<-release
		running.Add(-1)
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	notices := make(chan bool)
	var parts sync.WaitGroup
	parts.Go(func() { next.watch(ctx, notices) })
	parts.Go(func() { next.serve(ctx) })
	notices <- true
	eventually(t, "the first term's work", func() error {
		if running.Load() != 1 {
			return errors.New("it has not begun")
		}
		return nil
	})
	notices <- false
	notices <- true
	notices <- false
	notices <- true
	if running.Load() != 1 {
		t.Error("the next term began beside the first")
	}
	release <- struct{}{}
	eventually(t, "the last term's work", func() error {
		if running.Load() != 1 {
			return errors.New("it has not begun")
		}
		return nil
	})
	close(release)
	stop()
	parts.Wait()
	if overlapped {
		t.Error("two terms worked at the same time")
	}
	if term.Err() != nil {
		t.Error("the node's own term has ended")
	}
}

func TestALeaderWhoseWorkEndsHandsOver(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	first := c.leader()
	terms := testTerms(func(context.Context) error { return errors.New("broken") })
	terms.node = first.node
	term := &term{number: first.node.Status().Term}
	term.ctx, term.end = context.WithCancelCause(t.Context())
	ended := make(chan struct{})
	go func() { terms.serveTerm(term); close(ended) }()
	c.leader(first)
	term.end(errOfficeLost)
	<-ended
}

// A leader whose work has ended, and whose office nobody can take, works on; and
// it tries to hand over again when that has ended too.
func TestAnOfficeThatNobodyTakesIsNotIdle(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	c.voters("n1", "n2", "n3")
	first := c.leader()
	works := make(chan chan error)
	terms := testTerms(func(ctx context.Context) error {
		end := make(chan error)
		select {
		case works <- end:
			return <-end
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	terms.node = first.node
	term := &term{number: first.node.Status().Term}
	term.ctx, term.end = context.WithCancelCause(t.Context())
	ended := make(chan struct{})
	go func() { terms.serveTerm(term); close(ended) }()
	for i := range 2 {
		end := <-works
		if i == 0 {
			for _, n := range c.followers(first) {
				n.faults.Stall() // it can neither vote nor stand
			}
		}
		if !first.node.Status().InOffice {
			t.Error("at work out of office")
		}
		end <- errors.New("broken")
	}
	end := <-works
	for _, n := range c.followers(first) {
		n.faults.Resume()
	}
	end <- errors.New("broken again")
	c.leader(first)
	term.end(errOfficeLost)
	<-ended
}

func TestObserverSeesEveryEntryOnEveryNode(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string][]any{}
	c := newTestCluster(t, 3, func(c *Config) {
		name := c.Name
		c.ApplyObserver = func(_ uint64, results []any) {
			mu.Lock()
			defer mu.Unlock()
			seen[name] = append(seen[name], results...)
		}
	})
	c.startAll()
	c.leader()
	for _, command := range []string{"a", "b", "c"} {
		c.propose(command)
	}
	c.converge("c")
	eventually(t, "the observers", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range c.nodes {
			if !slices.Equal(seen[n.name], []any{1, 2, 3}) {
				return errors.New(n.name)
			}
		}
		return nil
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	c := newTestCluster(t, 1, func(c *Config) { c.Registerer = registry })
	c.startAll()
	c.propose("a")
	families, err := registry.Gather()
	must(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			values[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for _, name := range []string{
		"weir_raft_commands_committed_total", "weir_raft_commit_seconds", "weir_raft_entry_commands", "weir_raft_leader",
		"weir_raft_ready", "weir_raft_term", "weir_raft_applied_index", "weir_raft_store_seconds", "weir_raft_terms_led_total",
	} {
		if values[name] < 1 {
			t.Errorf("%s is %v", name, values[name])
		}
	}
}

func TestProfilesByName(t *testing.T) {
	for _, p := range []Profile{Local, Default, WAN} {
		got, err := ProfileByName(p.Name)
		if err != nil || got != p {
			t.Errorf("%s: %+v, %v", p.Name, got, err)
		}
	}
	if _, err := ProfileByName("fast"); err == nil {
		t.Error("an unknown profile was found")
	}
}
