package raftnode

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// slower is another profile than patient, that works with it.
var slower = Profile{"slower", 400 * time.Millisecond, 400 * time.Millisecond, 400 * time.Millisecond, time.Second}

// mixedCluster is a cluster of which each node runs the profile under its name.
func mixedCluster(t *testing.T, nodes int, profile map[string]Profile) *testCluster {
	return newTestCluster(t, nodes, func(c *Config) {
		if p, ok := profile[c.Name]; ok {
			c.Profile = p
		}
		c.Registerer = prometheus.NewRegistry()
	})
}

func (n *testNode) warns(want string) error {
	s := n.node.Status()
	if want == "" && s.Warning == "" || want != "" && strings.Contains(s.Warning, want) {
		return nil
	}
	return fmt.Errorf("%s warns %q, want %q", n.name, s.Warning, want)
}

func TestANodeWithAnotherProfileDoesNotJoin(t *testing.T) {
	t.Parallel()
	profile := map[string]Profile{"n2": slower}
	c := mixedCluster(t, 1, profile)
	c.startAll()
	c.propose("a")
	odd := c.add("n2")
	odd.start()
	eventually(t, "the refusal", func() error {
		s := odd.node.Status()
		for _, want := range []string{"node n1, the leader, runs profile patient (300/300/300 ms)", "node n2 would join with slower (400/400/400 ms)", oneProfile} {
			if s.Ready || !strings.Contains(s.Why, want) || strings.Contains(s.Why, "no leader") {
				return fmt.Errorf("ready: %v, and it says %q", s.Ready, s.Why)
			}
		}
		return nil
	})
	if members := c.nodes[0].node.Members(); len(members) != 1 {
		t.Fatalf("it is a member: %v", members)
	}
	odd.kill()
	delete(profile, "n2")
	odd.start()
	c.voters("n1", "n2")
	c.converge("a")
}

func TestAProfileIsChangedOnOneNodeAfterTheOther(t *testing.T) {
	t.Parallel()
	profile := map[string]Profile{}
	c := mixedCluster(t, 3, profile)
	c.startAll()
	c.voters("n1", "n2", "n3")
	for i, n := range c.nodes {
		must(t, n.shutdown())
		profile[n.name] = slower
		n.start()
		command := fmt.Sprint(i)
		c.propose(command)
		c.converge(command)
		eventually(t, n.name+" to be ready", func() error {
			if s := n.node.Status(); !s.Ready {
				return errors.New(s.Why)
			}
			return nil
		})
		if i > 0 {
			continue
		}
		eventually(t, "a warning", func() error {
			leader := c.leader()
			if leader == n { // then it has the others to complain of
				return leader.warns("node n2 runs profile patient (300/300/300 ms), node n3 runs profile patient")
			}
			return leader.warns("node n1 runs profile slower (400/400/400 ms), this one patient (300/300/300 ms): " + oneProfile)
		})
	}
	c.voters("n1", "n2", "n3")
	for _, n := range c.nodes {
		eventually(t, "the end of the warnings", func() error { return n.warns("") })
	}
}
