package clustertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler"
)

// Node is one node of a cluster; it may be down.
type Node struct {
	Name    string
	Address string // that it advertises, for everyone
	Faults  *raftnode.Faults
	Server  *scheduler.Server // nil while it is down

	cluster *Cluster
	direct  string // where it listens
	dir     string
	proxy   *proxy
	cancel  context.CancelFunc
	ended   chan error
}

func (c *Cluster) newNode(name string) *Node {
	c.t.Helper()
	n := &Node{Name: name, Faults: &raftnode.Faults{}, cluster: c, direct: freeAddress(c.t), dir: filepath.Join(c.dir, name)}
	proxy, err := newProxy(c.Net, name, n.direct)
	c.must(err)
	n.proxy, n.Address = proxy, proxy.listener.Addr().String()
	c.must(os.MkdirAll(n.tlsDir(), 0o700))
	pair, err := c.ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: name, Hosts: []string{"127.0.0.1"}, Valid: time.Hour})
	c.must(err)
	c.must(pair.Save(filepath.Join(n.tlsDir(), "node.pem"), filepath.Join(n.tlsDir(), "node-key.pem")))
	c.must(os.WriteFile(filepath.Join(n.tlsDir(), "ca.pem"), c.ca.CertPEM(), 0o600))
	return n
}

func (n *Node) tlsDir() string { return filepath.Join(n.dir, "tls") }

// DataDir is where the node keeps its state.
func (n *Node) DataDir() string { return filepath.Join(n.dir, "data") }

func (n *Node) identity() *mtls.Node {
	n.cluster.t.Helper()
	id, err := mtls.LoadNode(mtls.Files{
		Cert: filepath.Join(n.tlsDir(), "node.pem"), Key: filepath.Join(n.tlsDir(), "node-key.pem"), CA: filepath.Join(n.tlsDir(), "ca.pem"),
	}, hclog.NewNullLogger())
	n.cluster.must(err)
	return id
}

func (n *Node) config() scheduler.Config {
	c := scheduler.Default()
	c.DataDir, c.TLSDir, c.Name = n.DataDir(), n.tlsDir(), n.Name
	c.Listen, c.Advertise, c.HTTPListen = n.direct, n.Address, "127.0.0.1:0"
	c.BootstrapExpect, c.Profile = n.cluster.options.Nodes, "local"
	for _, other := range n.cluster.Nodes {
		if other != n {
			c.Join = append(c.Join, other.Address)
		}
	}
	if n.cluster.options.Change != nil {
		n.cluster.options.Change(&c)
	}
	return c
}

// Start starts a node that is down, with what is on its disk.
func (n *Node) Start() {
	n.cluster.t.Helper()
	n.cluster.must(n.TryStart())
}

// TryStart is Start for a node that may not be able to.
func (n *Node) TryStart() error {
	server, err := scheduler.Open(n.config(), n.cluster.log.Named(n.Name), scheduler.Hooks{Dial: n.dial, Faults: n.Faults})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.Server, n.cancel, n.ended = server, cancel, make(chan error, 1)
	ended := n.ended
	go func() { ended <- server.Run(ctx) }() // Stop waits for it
	return nil
}

// dial reaches the other nodes past their proxies, which are for outsiders.
func (n *Node) dial(ctx context.Context, _, address string) (net.Conn, error) {
	to, ok := n.cluster.Net.lookUp(address)
	if !ok {
		return nil, fmt.Errorf("dial %s: it is no node's address", address)
	}
	return n.cluster.Net.dial(ctx, n.Name, to.node, to.address)
}

// Runs says whether the node is up.
func (n *Node) Runs() bool { return n.Server != nil }

// Leads says whether the node is in office.
func (n *Node) Leads() bool { return n.Server != nil && n.Server.Leads() }

// Stop stops the node as SIGTERM does.
func (n *Node) Stop() {
	n.cluster.t.Helper()
	if n.Server == nil {
		return
	}
	n.cancel()
	err := <-n.ended
	n.Server = nil
	if err != nil {
		n.cluster.t.Errorf("stop node %s: %v", n.Name, err)
	}
}

// Crash takes the node off the network before it stops, so that it can tell
// nobody; the network is whole again afterwards.
func (n *Node) Crash() {
	n.cluster.t.Helper()
	others := []string{Outside}
	for _, o := range n.cluster.Nodes {
		if o != n {
			others = append(others, o.Name)
		}
	}
	n.cluster.Net.Split([]string{n.Name}, others)
	n.proxy.breakAll()
	n.cancel()
	n.cluster.Wait("the Raft of "+n.Name+" to end", func() bool { return n.Server.Store().Node().Status().State == "shutdown" })
	n.cluster.Net.Join([]string{n.Name}, others)
	n.Stop()
}

// Wipe removes all that a node that is down has stored.
func (n *Node) Wipe() {
	n.cluster.t.Helper()
	n.cluster.must(os.RemoveAll(n.DataDir()))
}

// Refuse makes the node's address refuse clients and workers, or take them
// again. Other nodes still reach it.
func (n *Node) Refuse(refuse bool) {
	n.proxy.refuse.Store(refuse)
	if refuse {
		n.proxy.breakAll()
	}
}
