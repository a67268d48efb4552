package raftnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// stores runs a test over both log stores.
func stores(t *testing.T, test func(t *testing.T, tune func(*Config))) {
	for _, store := range []string{Bolt, WAL} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			test(t, func(c *Config) { c.LogStore = store })
		})
	}
}

func TestThreeNodesMakeOneClusterAndSurviveTheirLeader(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, tune)
		c.startAll()
		first := c.leader()
		c.voters("n1", "n2", "n3")
		for _, n := range c.nodes {
			if n.node.ClusterID() != first.node.ClusterID() {
				t.Fatalf("%s is of cluster %s", n.name, n.node.ClusterID())
			}
		}
		c.propose("a")
		first.kill()
		second := c.leader()
		if second == first {
			t.Fatal("the dead lead")
		}
		c.propose("b")
		first.start()
		c.converge("a", "b")
	})
}

func TestFiveNodesMakeOneClusterAndSurviveTwo(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 5, nil)
	c.startAll()
	first := c.leader()
	c.voters("n1", "n2", "n3", "n4", "n5")
	for _, n := range c.nodes {
		if n.node.ClusterID() != first.node.ClusterID() {
			t.Fatalf("%s is of cluster %s", n.name, n.node.ClusterID())
		}
	}
	c.propose("a")
	first.kill()
	second := c.leader()
	c.propose("b")
	second.kill()
	c.leader()
	c.propose("c")
	first.start()
	second.start()
	c.converge("a", "b", "c")
}

func TestSingleNode(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 1, tune)
		c.startAll()
		c.propose("a")
		must(t, c.nodes[0].shutdown())
		c.startAll()
		c.propose("b")
		c.converge("a", "b")
	})
}

func TestGracefulStopHandsTheOfficeOver(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	first := c.leader()
	term := <-first.terms
	must(t, first.shutdown())
	if !errors.Is(context.Cause(term), errOfficeLost) {
		t.Fatalf("the term ended by %v", context.Cause(term))
	}
	// By a transfer, the new leader is there before anyone misses the old one.
	next := c.leader()
	if next.node.Status().Term < 2 {
		t.Fatal("no new term")
	}
	c.propose("a")
}

func TestProposalsAreAnsweredByPosition(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, tune)
		c.startAll()
		leader := c.leader()
		const count = 5000
		results := make([]any, count)
		var pending sync.WaitGroup
		pending.Add(count)
		for i := range count {
			leader.node.ProposeAsync(fmt.Appendf(nil, "c%d", i), func(result any, err error) {
				if err != nil {
					t.Error(err)
				}
				results[i] = result
				pending.Done()
			})
		}
		pending.Wait()
		for i, r := range results {
			if r != i+1 {
				t.Fatalf("command %d has result %v", i, r)
			}
		}
		if leader.machine.batches > count/10 {
			t.Errorf("%d entries for %d commands", leader.machine.batches, count)
		}
		c.converge(fmt.Sprintf("c%d", count-1))
	})
}

func TestOnlyTheLeaderTakesProposals(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	leader := c.leader()
	follower := c.followers(leader)[0]
	if _, err := follower.node.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a follower says %v", err)
	}
	if err := follower.node.Verify(t.Context()); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a follower verifies: %v", err)
	}
	if _, err := leader.node.Propose(t.Context(), make([]byte, MaxCommand+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a large command: %v", err)
	}
	if known, ok := follower.node.Leader(); !ok || known.Name != leader.name {
		t.Fatalf("the follower's leader is %v", known)
	}
	must(t, leader.node.Verify(t.Context()))
}

func TestACutOffLeaderLosesItsOfficeAndItsProposalsAreUnknown(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	old := c.leader()
	term := <-old.terms
	c.propose("before")
	c.net.cut(old.addr)
	_, err := old.node.Propose(t.Context(), []byte("lost"))
	if !errors.Is(err, ErrUnknownOutcome) && !errors.Is(err, ErrNotLeader) {
		t.Fatalf("the cut-off leader says %v", err)
	}
	<-term.Done()
	if err := old.node.Verify(t.Context()); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("the cut-off leader verifies: %v", err)
	}
	c.leader(old)
	c.propose("after")
	c.net.heal(old.addr)
	c.converge("before", "after")
	if slices.Contains(old.applied(), "lost") {
		t.Fatal("a proposal of the cut-off leader was applied")
	}
}

func TestAVerifiedReadShowsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	for i := range 20 {
		command := fmt.Sprint(i)
		c.propose(command)
		var reader *testNode
		eventually(t, "a verified read", func() error {
			reader = c.leader()
			return reader.node.Verify(t.Context())
		})
		if !slices.Contains(reader.applied(), command) {
			t.Fatalf("a verified read on %s does not show command %d", reader.name, i)
		}
	}
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	leader := c.leader()
	to := c.followers(leader)[1]
	eventually(t, "a transfer", func() error {
		if c.leader() == to {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return c.leader().node.Transfer(ctx, to.name)
	})
	if got := c.leader(); got != to {
		t.Fatalf("%s leads", got.name)
	}
	if err := c.leader().node.Transfer(t.Context(), "nobody"); !errors.Is(err, ErrNoMember) {
		t.Fatal(err)
	}
}
