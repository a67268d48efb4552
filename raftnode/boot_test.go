package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestDecide(t *testing.T) {
	a, b, c := Peer{"a", "na", "h:1"}, Peer{"b", "nb", "h:2"}, Peer{"c", "nc", "h:3"}
	d, e := Peer{"d", "nd", "h:4"}, Peer{"e", "ne", "h:5"}
	empty5 := func(p Peer) answer { return answer{address: p.Address, peer: p, expect: 5} }
	empty := func(p Peer) answer { return answer{address: p.Address, peer: p, expect: 3} }
	silent := answer{address: "h:9", err: errors.New("refused")}
	of := func(p Peer, cluster ClusterID) answer { return answer{address: p.Address, peer: p, cluster: cluster} }
	for name, test := range map[string]struct {
		self    Peer
		expect  int
		answers []answer
		want    string // join ID, make NAMES, refuse, or a part of the reason to wait
	}{
		"the smallest id makes it":              {a, 3, []answer{empty(b), empty(c)}, "make na nb nc"},
		"the others wait for it":                {b, 3, []answer{empty(a), empty(c)}, "na (h:1) makes the cluster"},
		"its own address among the others":      {a, 2, []answer{{address: "x", peer: a}, {address: b.Address, peer: b, expect: 2}}, "make na nb"},
		"one node under two addresses":          {a, 3, []answer{empty(b), empty(b)}, "2 of the 3 expected"},
		"too few":                               {a, 3, []answer{empty(b)}, "2 of the 3 expected"},
		"a known cluster wins over everything":  {a, 3, []answer{empty(b), silent, of(c, "K")}, "join K"},
		"a wiped majority waits for the rest":   {a, 3, []answer{empty(b), silent}, "every join address has answered"},
		"even when enough empty ones are there": {a, 2, []answer{empty(Peer{"b", "nb", "h:2"}), silent}, "give all the same"},
		"alone":                                 {a, 1, nil, "make na"},
		"alone with a silent other":             {a, 1, []answer{silent}, "every join address"},
		"never makes one":                       {a, 0, []answer{empty(b)}, "makes none"},
		"two clusters":                          {a, 3, []answer{of(b, "K"), of(c, "L")}, "belong to 2 clusters"},
		"other timings":                         {a, 2, []answer{{address: "h:2", peer: b, expect: 2, timings: WAN.timings()}}, "nb (h:2) runs profile wan (1500/1500/750 ms), this one local (200/200/100 ms): start all"},
		"the same timings":                      {a, 2, []answer{{address: "h:2", peer: b, expect: 2, timings: Local.timings()}}, "make na nb"},
		"five, and the third makes it not":      {c, 5, []answer{empty5(a), empty5(b), empty5(d), empty5(e)}, "na (h:1) makes the cluster"},
		"five, and the smallest id makes it":    {a, 5, []answer{empty5(e), empty5(c), empty5(d), empty5(b)}, "make na nb nc nd ne"},
		"four of five":                          {a, 5, []answer{empty5(b), empty5(c), empty5(d)}, "4 of the 5 expected"},
		"five, one of them silent":              {a, 5, []answer{empty5(b), empty5(c), empty5(d), silent}, "every join address"},
		"a name twice":                          {a, 3, []answer{empty(Peer{"z", "na", "h:4"})}, "refuse"},
	} {
		d := decide(test.self, test.expect, Local.timings(), test.answers)
		got := d.waits
		switch {
		case d.refuse != nil:
			got = "refuse"
		case d.join != "":
			got = "join " + string(d.join)
		case d.make != nil:
			got = "make"
			for _, p := range d.make {
				got += " " + p.Name
			}
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// An even number of nodes is made a cluster of, with a warning, once.
func TestAnEvenNumberOfNodesIsWarnedOf(t *testing.T) {
	t.Parallel()
	for expect, want := range map[int]int{1: 0, 2: 2} {
		var log syncBuffer
		c := newTestCluster(t, expect, func(c *Config) { c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log}) })
		c.startAll()
		c.propose("a")
		c.converge("a")
		must(t, c.nodes[0].shutdown())
		c.nodes[0].start() // with data, the number means nothing any more
		c.propose("b")
		c.converge("b")
		if got := strings.Count(log.String(), "an even number of nodes"); got != want {
			t.Errorf("%d nodes: %d warnings, want %d", expect, got, want)
		}
	}
}

// syncBuffer is a buffer that several nodes log to.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestAnEmptyNodeAgreesToOneClusterAtATime(t *testing.T) {
	n := &Node{}
	must(t, n.claim("A"))
	must(t, n.claim("A"))
	if n.claim("B") == nil {
		t.Fatal("agreed to two")
	}
	n.claimedAt = n.claimedAt.Add(-claimLasts)
	must(t, n.claim("B"))
}

func TestAWipedNodeIsReplaced(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, tune)
		c.startAll()
		leader := c.leader()
		c.propose("a")
		gone := c.followers(leader)[0]
		old := gone.node.ID()
		gone.wipe()
		gone.start()
		c.voters("n1", "n2", "n3")
		c.converge("a")
		if gone.node.ID() == old {
			t.Fatal("a wiped node has its old identity")
		}
		c.propose("b")
		c.converge("a", "b")
	})
}

func TestAWipedLeaderIsReplaced(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	leader := c.leader()
	c.propose("a")
	leader.wipe()
	leader.start()
	c.voters("n1", "n2", "n3")
	c.converge("a")
}

func TestTwoWipedNodesOfThreeMakeNoSecondCluster(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	c.leader()
	c.propose("a")
	cluster := c.nodes[2].node.ClusterID()
	backup := t.TempDir() // so that the cluster can be saved in the end
	c.nodes[0].kill()
	must(t, os.CopyFS(backup, os.DirFS(c.nodes[0].dir)))
	c.nodes[0].wipe()
	c.nodes[1].wipe()

	// With the survivor away, the wiped ones know nothing and wait.
	c.nodes[2].kill()
	c.nodes[0].start()
	c.nodes[1].start()
	eventually(t, "the report", func() error {
		why := c.nodes[0].node.Status().Why
		for _, part := range []string{"n2 (" + c.nodes[1].addr + ") says", c.nodes[2].addr + " was not reached", "every join address"} {
			if !strings.Contains(why, part) {
				return fmt.Errorf("%q lacks %q", why, part)
			}
		}
		return nil
	})

	// With the survivor back they know its cluster, and wait for a leader.
	c.nodes[2].start()
	eventually(t, "the report", func() error {
		for _, n := range c.nodes[:2] {
			if s := n.node.Status(); s.ClusterID != cluster || s.Ready || !strings.Contains(s.Why, "no leader") {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
	if s := c.nodes[2].node.Status(); s.InOffice || s.Ready {
		t.Fatalf("the survivor leads: %+v", s)
	}

	// A second disk that comes back saves all.
	c.nodes[0].kill()
	must(t, os.RemoveAll(c.nodes[0].dir))
	must(t, os.CopyFS(c.nodes[0].dir, os.DirFS(backup)))
	c.nodes[0].start()
	c.voters("n1", "n2", "n3")
	c.converge("a")
}

func TestANodeOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, nil)
	c.startAll()
	c.leader()
	stranger := c.add("n2")
	stranger.start()
	c.voters("n1", "n2")
	stranger.kill()

	foreign := ClusterID("11111111-1111-4111-8111-111111111111")
	must(t, (&dataDir{path: stranger.dir}).setClusterID(foreign))
	stranger.start()
	own := c.nodes[0].node.ClusterID()
	to := Peer{ID: c.nodes[0].node.ID(), Name: "n1", Address: c.nodes[0].addr}
	err := stranger.node.stream.ask(t.Context(), to, forRaft, foreign)
	if !errors.Is(err, ErrWrongCluster) || !strings.Contains(err.Error(), string(own)) || !strings.Contains(err.Error(), string(foreign)) {
		t.Fatalf("the error does not name both clusters: %v", err)
	}
	c.nodes[0].mu.Lock()
	defer c.nodes[0].mu.Unlock()
	if len(c.nodes[0].audit) == 0 {
		t.Fatal("nothing was audited")
	}
}

func TestADataDirectoryOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	one := newTestCluster(t, 1, nil)
	one.startAll()
	one.leader()
	other := newTestCluster(t, 1, nil)
	other.startAll()
	other.leader()
	must(t, other.nodes[0].shutdown())
	moved := one.add("n2")
	moved.dir = other.nodes[0].dir
	moved.start()
	err := <-moved.ended
	moved.ended <- err
	for _, part := range []string{moved.dir, string(one.nodes[0].node.ClusterID()), string(moved.node.ClusterID())} {
		if !errors.Is(err, ErrWrongCluster) || !strings.Contains(err.Error(), part) {
			t.Fatalf("%v lacks %q", err, part)
		}
	}
}

func TestALoneNodeMayMove(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, nil)
	c.startAll()
	c.propose("a")
	must(t, c.nodes[0].shutdown())
	c.nodes[0].addr = c.add("spare").addr
	c.nodes = c.nodes[:1]
	c.startAll()
	c.propose("b")
	eventually(t, "the new address", func() error {
		if m := c.nodes[0].node.Members(); m[0].Address != c.nodes[0].addr {
			return fmt.Errorf("%v", m)
		}
		return nil
	})
}

func TestMoreNodesJoinAndVote(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, nil)
	c.startAll()
	c.propose("a")
	c.add("n2").start()
	c.add("n3").start()
	c.voters("n1", "n2", "n3")
	c.converge("a")
}

func TestAMovedNodeIsFoundAgain(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	moved := c.followers(c.leader())[0]
	moved.kill()
	spare := c.add("spare") // for its address
	c.nodes = c.nodes[:3]
	moved.addr = spare.addr
	moved.start()
	c.propose("a")
	c.converge("a")
	eventually(t, "the new address", func() error {
		for _, m := range c.leader().node.Members() {
			if m.Name == moved.name && m.Address == moved.addr {
				return nil
			}
		}
		return errors.New("not known")
	})
}

func TestRemoveKeepsALiveMajority(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	dead := c.followers(c.leader())[0]
	dead.kill()
	live := c.followers(dead)
	// remove asks whoever leads, until the answer is one of a leader.
	remove := func(who string, force bool) (err error) {
		eventually(t, "an answer", func() error {
			leader := c.leader()
			if err = leader.node.Remove(t.Context(), who, force); errors.Is(err, ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
				return err
			}
			return nil
		})
		return err
	}
	eventually(t, "its silence", func() error {
		for _, m := range c.leader().node.Members() {
			if m.Name == dead.name && m.Health != Silent {
				return fmt.Errorf("%+v", m)
			}
		}
		return nil
	})
	if err := remove(live[0].name, true); !errors.Is(err, ErrRefused) {
		t.Fatalf("removed one of the last two that work: %v", err)
	}
	if err := remove("nobody", false); !errors.Is(err, ErrNoMember) {
		t.Fatal(err)
	}
	if err := remove(dead.name, false); err != nil && !errors.Is(err, ErrNoMember) { // the first attempt's outcome may be unknown
		t.Fatal(err)
	}
	c.nodes = live
	c.propose("a")
	c.converge("a")
	c.nodes = append(live, dead)
}

// A node that was removed says so, and what brings it back, also after a start.
func TestARemovedNodeSaysSo(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	c.propose("a")
	c.converge("a")
	leader := c.leader()
	gone := c.followers(leader)[0]
	if err := leader.node.Remove(t.Context(), gone.name, true); err != nil {
		t.Fatal(err)
	}
	says := func() error {
		if s := gone.node.Status(); !strings.Contains(s.Why, "it was removed") {
			return fmt.Errorf("%s: %q", s.State, s.Why)
		}
		return nil
	}
	gone.kill()
	gone.start()
	eventually(t, "the removed node to say so", says)
	c.nodes = c.followers(gone)
	c.propose("b")
	c.nodes = append(c.nodes, gone)
}
