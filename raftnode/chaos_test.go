package raftnode

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Three nodes under random cuts, deaths, stalls and store errors, with commands
// proposed all the while: in the end every acknowledged command is there, once,
// in the same order everywhere.
func TestNothingAcknowledgedIsLostOrRepeated(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		c := newTestCluster(t, 3, func(c *Config) { tune(c); c.TrailingLogs = 50; c.SnapshotEntries = 200; c.ProposeTimeout = time.Second })
		c.startAll()
		c.leader()
		stop := c.keepProposing()
		for range 5 {
			c.harm(c.nodes[rng.IntN(len(c.nodes))], rng)
		}
		acknowledged := stop()
		c.propose("the end")
		c.converge(append(acknowledged, "the end")...)
		commands := c.nodes[0].applied()
		if unique := slices.Compact(slices.Sorted(slices.Values(commands))); len(unique) != len(commands) {
			t.Errorf("%d of %d commands are repetitions", len(commands)-len(unique), len(commands))
		}
		t.Logf("%d acknowledged, %d applied", len(acknowledged), len(commands))
	})
}

// harm does something to a node for a while.
func (c *testCluster) harm(n *testNode, rng *rand.Rand) {
	lasts := time.After(time.Duration(200+rng.IntN(700)) * time.Millisecond)
	switch rng.IntN(3) {
	case 0:
		c.net.cut(n.addr)
		<-lasts
		c.net.heal(n.addr)
	case 1:
		n.faults.Stall()
		<-lasts
		n.faults.Resume()
	case 2:
		n.faults.Fail(func() error {
			if rand.IntN(2) == 0 {
				return syscall.EIO
			}
			return nil
		})
		<-lasts
		n.faults.Fail(nil)
	}
	<-time.After(time.Duration(rng.IntN(300)) * time.Millisecond)
}
