// Package sessiontest is the cluster's side of a worker's session for tests:
// nodes that speak real gRPC over real TLS on loopback and answer as the test
// says. It promises to look to a worker like nodes that live, die, hang and come
// back at the same address. It refuses to decide anything that a leader decides.
package sessiontest

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

// Stream is the node's end of a session.
type Stream = grpc.BidiStreamingServer[pb.WorkerMessage, pb.NodeMessage]

// LogStream is the node's end of a log stream.
type LogStream = grpc.BidiStreamingServer[pb.LogUp, pb.LogDown]

// Cluster is an authority and the nodes that it certifies.
type Cluster struct {
	Nodes []*Node
	ca    *mtls.Authority
	token capability.Token
}

// Start runs n nodes until the test ends.
func Start(t testing.TB, n int) *Cluster {
	t.Helper()
	ca, err := mtls.NewAuthority("test cluster", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{ca: ca, token: capability.NewToken()}
	for range n {
		node := &Node{tls: c.config(t)}
		node.Start(t)
		t.Cleanup(node.Kill)
		c.Nodes = append(c.Nodes, node)
	}
	return c
}

func (c *Cluster) config(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := c.ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: "node", Hosts: []string{"127.0.0.1"}, Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{mtls.ProtoGRPC}}
}

// Capability names the given nodes, all when there are none.
func (c *Cluster) Capability(t testing.TB, nodes ...*Node) capability.Capability {
	t.Helper()
	if len(nodes) == 0 {
		nodes = c.Nodes
	}
	capa, err := capability.New(c.token, addrs(nodes), []mtls.Pin{mtls.Fingerprint(c.ca.Cert)})
	if err != nil {
		t.Fatal(err)
	}
	return capa
}

// Save writes the capability of all nodes to a file in dir.
func (c *Cluster) Save(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "worker.cap")
	if err := c.Capability(t).Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Addresses of all nodes.
func (c *Cluster) Addresses() []string { return addrs(c.Nodes) }

func addrs(nodes []*Node) (all []string) {
	for _, n := range nodes {
		all = append(all, n.Addr)
	}
	return all
}

// Node is one node. Its behaviour may be changed at any time, and counts for
// streams that begin later.
type Node struct {
	pb.UnimplementedWorkerServiceServer
	Addr string
	tls  *tls.Config
	wall wall

	mu      sync.Mutex
	session func(Stream) error
	logs    func(LogStream) error
	server  *grpc.Server
	lis     *walled
	done    chan struct{}
}

// OnSession sets what the node does with a session.
func (n *Node) OnSession(f func(Stream) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.session = f
}

// OnShipLogs sets what the node does with a log stream.
func (n *Node) OnShipLogs(f func(LogStream) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.logs = f
}

// Session implements the service.
func (n *Node) Session(s Stream) error {
	n.mu.Lock()
	f := n.session
	n.mu.Unlock()
	if f == nil {
		return n.UnimplementedWorkerServiceServer.Session(s)
	}
	return f(s)
}

// ShipLogs implements the service.
func (n *Node) ShipLogs(s LogStream) error {
	n.mu.Lock()
	f := n.logs
	n.mu.Unlock()
	if f == nil {
		return n.UnimplementedWorkerServiceServer.ShipLogs(s)
	}
	return f(s)
}

// Start runs the node, at the same address as before.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	addr := n.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n.Addr = lis.Addr().String()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(n.tls)))
	pb.RegisterWorkerServiceServer(server, n)
	done, behind := make(chan struct{}), &walled{Listener: lis, wall: &n.wall}
	go func() {
		defer close(done)
		_ = server.Serve(behind) // ends with Kill
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server, n.lis, n.done = server, behind, done
}

// Kill ends the node at once: its connections break and new ones are refused.
func (n *Node) Kill() {
	n.mu.Lock()
	server, lis, done := n.server, n.lis, n.done
	n.server = nil
	n.mu.Unlock()
	if server == nil {
		return
	}
	n.wall.set(false)
	_ = lis.Close() // before the connections, so that no new one slips in
	lis.kill()
	server.Stop()
	<-done
}

// Cut lets nothing through in either direction, as a firewall that drops
// packets would, until Heal.
func (n *Node) Cut() { n.wall.set(true) }

// Heal delivers what was held back, and everything from now on.
func (n *Node) Heal() { n.wall.set(false) }
