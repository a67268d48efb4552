package raftnode

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGossipKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gossip.key")
	must(t, WriteGossipKey(path))
	if err := WriteGossipKey(path); err == nil {
		t.Fatal("a key was overwritten")
	}
	key, err := ReadGossipKey(path)
	must(t, err)
	if len(key) != 32 {
		t.Fatal(len(key))
	}
	must(t, os.Chmod(path, 0o644))
	if _, err := ReadGossipKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatal(err)
	}
	must(t, os.WriteFile(path, []byte("short"), 0o600))
	must(t, os.Chmod(path, 0o600))
	if _, err := ReadGossipKey(path); err == nil || !strings.Contains(err.Error(), "32 bytes") {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// A node that knows no address but one of gossip joins the cluster, and a
// follower sees who is gone.
func TestGossipFindsTheCluster(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "gossip.key")
	must(t, WriteGossipKey(key))
	listen := map[string]string{"n1": freePort(t), "n2": freePort(t)}
	c := newTestCluster(t, 1, func(c *Config) {
		c.GossipKeyFile, c.GossipListen = key, listen[c.Name]
		c.GossipJoin = []string{listen["n1"]}
		if c.Name == "n2" {
			c.Join, c.BootstrapExpect = nil, 0
		}
	})
	c.startAll()
	c.propose("a")
	c.add("n2").start()
	c.voters("n1", "n2")
	c.converge("a")

	leader := c.leader()
	follower := c.followers(leader)[0]
	wait := func(want Health) {
		t.Helper()
		eventually(t, "its health", func() error {
			for _, m := range follower.node.Members() {
				if m.Name == leader.name && m.Health == want {
					return nil
				}
			}
			return fmt.Errorf("not %s: %+v", want, follower.node.Members())
		})
	}
	wait(Healthy)
	must(t, leader.shutdown())
	wait(Silent)
}
