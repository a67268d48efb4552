package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func (n *testNode) snapshots() []*raft.SnapshotMeta {
	metas, err := n.node.snapshots.List()
	must(n.cluster.t, err)
	return metas
}

func TestSnapshotAndRestart(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 1, func(c *Config) { tune(c); c.TrailingLogs = 1 })
		c.startAll()
		n := c.nodes[0]
		for i := range 10 {
			c.propose(fmt.Sprintf("a%d", i))
		}
		must(t, n.node.SnapshotNow(t.Context()))
		c.propose("b")
		before, bytes := n.applied(), n.node.replica.bytes.Load()
		must(t, n.shutdown())
		n.start()
		c.leader()
		if !slices.Equal(n.applied(), before) || n.node.replica.bytes.Load() != bytes {
			t.Fatalf("after the restart: %v, %d bytes; before: %v, %d", n.applied(), n.node.replica.bytes.Load(), before, bytes)
		}
	})
}

func TestAFollowerFarBehindGetsASnapshot(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, func(c *Config) { tune(c); c.TrailingLogs = 1; c.walSegment = 64 << 10 })
		c.startAll()
		leader := c.leader()
		late := c.followers(leader)[0]
		c.propose("a")
		late.kill()
		big := strings.Repeat("x", 20<<10)
		for i := range 20 {
			c.propose(fmt.Sprint(i, big))
		}
		for _, n := range c.nodes {
			if n != late {
				must(t, n.node.SnapshotNow(t.Context()))
			}
		}
		c.propose("b")
		late.start()
		c.converge("a", "b")
		if len(late.snapshots()) == 0 {
			t.Fatal("it caught up without a snapshot")
		}
	})
}

func TestSnapshotsAreTakenWhenDue(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, func(c *Config) { c.SnapshotBytes = 64 << 10; c.TrailingLogs = 5 })
	c.startAll()
	c.leader()
	big := strings.Repeat("x", 1<<10)
	eventually(t, "a snapshot on every node", func() error {
		c.propose(big)
		for _, n := range c.nodes {
			if len(n.snapshots()) == 0 {
				return errors.New(n.name + " has none")
			}
		}
		return nil
	})
}

// A snapshot right after a membership change, without a command in between: Raft
// alone would refuse it.
func TestSnapshotAfterAConfigurationEntry(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, nil)
	c.startAll()
	c.propose("a")
	c.add("n2").start()
	c.voters("n1", "n2")
	must(t, c.leader().node.SnapshotNow(t.Context()))
}

func TestDueTakesTurns(t *testing.T) {
	const every = 900
	for phase, want := range map[float64][]uint64{0: {900, 1800, 2700}, 1.0 / 3: {300, 1200, 2100}, 2.0 / 3: {600, 1500, 2400}} {
		var at []uint64
		last := uint64(0)
		for now := uint64(0); now <= 2700; now++ {
			if due(last, now, every, phase) {
				at = append(at, now)
				last = now
			}
		}
		if !slices.Equal(at, want) {
			t.Errorf("phase %.2f is due at %v, want %v", phase, at, want)
		}
	}
}

func TestSnapshotFormat(t *testing.T) {
	var file bytes.Buffer
	commands := tallySnapshot{"a", strings.Repeat("b", 1<<20)}
	must(t, (&persister{snapshot: commands, index: 7, bytes: 9}).write(&file))
	if file.Len() > 10<<10 {
		t.Errorf("%d bytes: not compressed", file.Len())
	}
	header, state, err := openSnapshot(bytes.NewReader(file.Bytes()))
	must(t, err)
	defer state.Close()
	var m tally
	must(t, m.Restore(state))
	if header != (snapshotHeader{7, 9}) || !slices.Equal(m.commands, commands) {
		t.Fatalf("read back %+v and %d commands", header, len(m.commands))
	}
	if _, _, err := openSnapshot(strings.NewReader("something else altogether")); err == nil {
		t.Fatal("read something else")
	}
}

func TestPacedWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	stop := make(chan struct{})
	w := &pacedWriter{to: f, file: path, pace: pacer{rate: 64 << 20, begun: time.Now(), stop: stop}}
	for range 16 {
		_, err := w.Write(make([]byte, 1<<20))
		must(t, err)
	}
	if took := time.Since(w.pace.begun); took < 200*time.Millisecond {
		t.Errorf("16 MiB at 64 MiB/s took %v", took)
	}
	w.pace.rate = 1
	close(stop)
	if _, err := w.Write(make([]byte, syncEvery)); !errors.Is(err, ErrClosed) {
		t.Fatalf("a stopped node goes on writing: %v", err)
	}
}

func TestABrokenNewestSnapshotIsReported(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, func(c *Config) { c.TrailingLogs = 1 })
	c.startAll()
	n := c.nodes[0]
	for i := range 10 {
		c.propose(fmt.Sprint(i))
	}
	must(t, n.node.SnapshotNow(t.Context()))
	id := n.snapshots()[0].ID
	must(t, n.shutdown())
	must(t, os.Remove(filepath.Join(n.dir, snapshotDir, id, "meta.json")))
	if err := n.tryStart(); err == nil || !strings.Contains(err.Error(), "begins at entry") {
		t.Fatal(err)
	}
}
