package raftnode

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// asked is one proposal of a test.
type asked struct {
	command string
	answers atomic.Int32
	err     error // valid when answered
}

// flood proposes to one node from several callers, a window of commands each,
// until the node has been stopped.
type flood struct {
	node    *testNode
	callers sync.WaitGroup
	settled atomic.Int64 // acknowledged

	mu  sync.Mutex
	all []*asked
}

func startFlood(n *testNode) *flood {
	f := &flood{node: n}
	for caller := range 8 {
		f.callers.Go(func() { f.propose(n.node, fmt.Sprintf("c%d", caller)) })
	}
	return f
}

func (f *flood) propose(node *Node, caller string) {
	window := make(chan struct{}, 64)
	closed := make(chan struct{})
	var once sync.Once
	for i := 0; ; i++ {
		select {
		case window <- struct{}{}:
		case <-closed:
			return
		}
		a := &asked{command: fmt.Sprintf("%s-%d", caller, i)}
		f.mu.Lock()
		f.all = append(f.all, a)
		f.mu.Unlock()
		node.ProposeAsync([]byte(a.command), func(_ any, err error) {
			switch {
			case a.answers.Add(1) > 1:
				return // told of below
			case err == nil:
				f.settled.Add(1)
			case errors.Is(err, ErrClosed):
				once.Do(func() { close(closed) })
			}
			a.err = err
			<-window
		})
	}
}

// verify checks the answers against the state in which the cluster goes on.
func (f *flood) verify(t *testing.T, state []string) (unknown int) {
	t.Helper()
	times := map[string]int{}
	for _, command := range state {
		times[command]++
	}
	for _, a := range f.all {
		if n := a.answers.Load(); n != 1 {
			t.Fatalf("%s was answered %d times", a.command, n)
		}
		switch n := times[a.command]; {
		case n > 1:
			t.Errorf("%s was applied %d times", a.command, n)
		case a.err == nil && n == 0:
			t.Errorf("%s was acknowledged and is lost", a.command)
		case errors.Is(a.err, ErrUnknownOutcome):
			unknown++
			if errors.Is(a.err, ErrClosed) || errors.Is(a.err, ErrNotLeader) {
				t.Errorf("the outcome of %s is unknown, and it was refused: %v", a.command, a.err)
			}
		case a.err != nil && n == 1:
			t.Errorf("%s was refused (%v) and was applied", a.command, a.err)
		}
	}
	return unknown
}

// A node that stops owes an answer to every proposal: one, and a true one.
func TestProposalsAreAnsweredOnceWhenTheNodeStops(t *testing.T) {
	for name, test := range map[string]struct {
		nodes int
		cut   bool
	}{"alone": {1, false}, "of three": {3, false}, "cut off from the others": {3, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t, test.nodes, nil)
			c.startAll()
			leader := c.leader()
			f := startFlood(leader)
			eventually(t, "commits under way", func() error {
				if n := f.settled.Load(); n < 2000 {
					return fmt.Errorf("%d are acknowledged", n)
				}
				return nil
			})
			if test.cut {
				c.net.cut(leader.addr)
			}
			must(t, leader.shutdown())
			f.callers.Wait()
			c.net.heal(leader.addr)
			leader.start()
			c.propose("after")
			c.converge("after")
			state := leader.applied()
			if unknown := f.verify(t, state); test.cut && unknown == 0 {
				t.Error("a node that was cut off knew the outcome of everything")
			}
			if !slices.Contains(state, f.all[0].command) {
				t.Error("the state lacks what was proposed first")
			}
		})
	}
}
