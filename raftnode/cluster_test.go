package raftnode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

// tally is a machine that remembers every command, in order. A command's result
// is its place in that order.
type tally struct {
	commands []string
	indexes  []uint64
	batches  int
}

func (m *tally) Apply(index uint64, commands [][]byte) []any {
	results := make([]any, len(commands))
	for i, c := range commands {
		m.commands = append(m.commands, string(c))
		results[i] = len(m.commands)
	}
	m.indexes = append(m.indexes, index)
	m.batches++
	return results
}

func (m *tally) Snapshot() Snapshot { return tallySnapshot(slices.Clip(m.commands)) }

func (m *tally) Restore(r io.Reader) error {
	m.commands = nil
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		c := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(r, c); err != nil {
			return err
		}
		m.commands = append(m.commands, string(c))
	}
}

type tallySnapshot []string

func (s tallySnapshot) WriteTo(w io.Writer) (total int64, err error) {
	for _, c := range s {
		n, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(c))), c...))
		if total += int64(n); err != nil {
			return total, err
		}
	}
	return total, nil
}

func (tallySnapshot) Release() {}

// testCA makes the certificates of one cluster.
type testCA struct {
	authority *mtls.Authority
	dir       string
}

func newTestCA(t testing.TB) *testCA {
	a, err := mtls.NewAuthority("test", time.Hour)
	must(t, err)
	ca := &testCA{a, t.TempDir()}
	must(t, a.Save(filepath.Join(ca.dir, "ca.pem"), filepath.Join(ca.dir, "ca.key")))
	return ca
}

// issue returns a loaded identity for a node on loopback.
func (ca *testCA) issue(t testing.TB, name string) *mtls.Node {
	pair, err := ca.authority.Issue(mtls.Request{Role: mtls.RoleNode, Name: name, Hosts: []string{"127.0.0.1"}, Valid: time.Hour})
	must(t, err)
	files := mtls.Files{Cert: filepath.Join(ca.dir, name+".pem"), Key: filepath.Join(ca.dir, name+".key"), CA: filepath.Join(ca.dir, "ca.pem")}
	must(t, pair.Save(files.Cert, files.Key))
	node, err := mtls.LoadNode(files, hclog.NewNullLogger())
	must(t, err)
	return node
}

// patient is Local with a lease that a crowded machine does not lose by chance.
var patient = Profile{"patient", 300 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond, time.Second}

// testCluster is several nodes in this process, with real ports, TLS and disks.
type testCluster struct {
	t     testing.TB
	ca    *testCA
	net   *testNet
	nodes []*testNode
	tune  func(*Config)
}

type testNode struct {
	cluster *testCluster
	name    string
	addr    string
	dir     string
	tls     *mtls.Node
	faults  *Faults

	node    *Node
	machine *tally
	terms   chan context.Context // every term begins here
	stop    context.CancelFunc
	ended   chan error
	served  *sync.WaitGroup

	mu    sync.Mutex
	audit []string
}

// newTestCluster makes n nodes that are not started.
func newTestCluster(t testing.TB, n int, tune func(*Config)) *testCluster {
	c := &testCluster{t: t, ca: newTestCA(t), net: newTestNet(), tune: tune}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.faults.Resume()
			n.faults.Fail(nil)
			if n.stop != nil {
				n.stop()
			}
		}
		for _, n := range c.nodes {
			c.net.heal(n.addr)
			_ = n.shutdown()
		}
	})
	for i := range n {
		c.add(fmt.Sprintf("n%d", i+1))
	}
	return c
}

func (c *testCluster) add(name string) *testNode {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(c.t, err)
	must(c.t, l.Close())
	n := &testNode{cluster: c, name: name, addr: l.Addr().String(), dir: c.t.TempDir(), tls: c.ca.issue(c.t, name), faults: &Faults{}}
	c.nodes = append(c.nodes, n)
	return n
}

func (c *testCluster) addresses() []string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.addr)
	}
	return all
}

func (c *testCluster) startAll() {
	for _, n := range c.nodes {
		n.start()
	}
}

func (n *testNode) config() Config {
	c := Config{
		DataDir: n.dir, Name: n.name, Advertise: n.addr, Join: n.cluster.addresses(), BootstrapExpect: len(n.cluster.nodes),
		Profile: patient, DialTLS: n.tls.ClientConfig, Dial: n.cluster.net.dialer(n.addr), Faults: n.faults,
		Logger: testLogger(n.name), Audit: n.audited,
	}
	if n.cluster.tune != nil {
		n.cluster.tune(&c)
	}
	return c
}

func testLogger(name string) hclog.Logger {
	if os.Getenv("RAFTNODE_LOG") == "" {
		return hclog.NewNullLogger()
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.LevelFromString(os.Getenv("RAFTNODE_LOG")), Output: os.Stderr})
}

func (n *testNode) audited(_, what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.audit = append(n.audit, what)
}

func (n *testNode) start() { must(n.cluster.t, n.tryStart()) }

// tryStart opens the node and runs it with everything that serves it.
func (n *testNode) tryStart() error {
	config := n.config()
	var tcp net.Listener
	eventually(n.cluster.t, "listening on "+n.addr, func() (err error) {
		tcp, err = net.Listen("tcp", n.addr)
		return err
	})
	mux := NewMux(tcp, n.tls.ServerConfig(), config.Logger, n.audited)
	config.Raft = mux.Raft()
	machine := &tally{}
	node, err := Open(config, machine)
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	serve, stopServing := context.WithCancel(context.Background())
	server := grpc.NewServer(grpc.Creds(ServerCredentials()))
	pb.RegisterMembershipServer(server, NewMembershipServer(node))
	n.node, n.machine, n.stop, n.ended, n.served = node, machine, stop, make(chan error, 1), &sync.WaitGroup{}
	n.terms = make(chan context.Context, 64)
	n.served.Go(func() { _ = mux.Run(serve) })
	n.served.Go(func() { _ = server.Serve(mux.GRPC()) })
	n.served.Go(func() {
		n.ended <- node.Run(ctx, func(term context.Context) error {
			n.terms <- term
			<-term.Done()
			return nil
		})
		server.Stop()
		stopServing()
	})
	return nil
}

// shutdown stops the node as an operator does.
func (n *testNode) shutdown() error {
	if n.stop == nil {
		return nil
	}
	n.stop()
	err := <-n.ended
	n.served.Wait()
	n.stop = nil
	return err
}

// kill stops the node without a word to the others.
func (n *testNode) kill() {
	n.cluster.net.cut(n.addr)
	n.faults.Resume()
	_ = n.shutdown()
	n.cluster.net.heal(n.addr)
}

// wipe kills the node and its disk.
func (n *testNode) wipe() {
	n.kill()
	must(n.cluster.t, os.RemoveAll(n.dir))
}

// leader waits until one of the nodes that run is in office and the others of
// them follow it.
func (c *testCluster) leader(except ...*testNode) *testNode {
	c.t.Helper()
	var found *testNode
	eventually(c.t, "a leader", func() error {
		found = nil
		for _, n := range c.nodes {
			if n.stop != nil && !slices.Contains(except, n) && n.node.Status().InOffice {
				found = n
			}
		}
		if found == nil {
			return errors.New("none is in office")
		}
		for _, n := range c.nodes {
			if l := n.stop; l != nil && !slices.Contains(except, n) && n.node.Status().Leader.ID != found.node.ID() {
				return fmt.Errorf("%s does not follow: %+v", n.name, n.node.Status())
			}
		}
		return nil
	})
	return found
}

func (c *testCluster) followers(leader *testNode) []*testNode {
	var others []*testNode
	for _, n := range c.nodes {
		if n != leader {
			others = append(others, n)
		}
	}
	return others
}

// propose has a command committed by whoever leads, and returns its place.
func (c *testCluster) propose(command string) {
	c.t.Helper()
	eventually(c.t, "committing "+command, func() error {
		for _, n := range c.nodes {
			if n.stop == nil || !n.node.Status().InOffice {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, err := n.node.Propose(ctx, []byte(command))
			return err
		}
		return ErrNotLeader
	})
}

func (n *testNode) applied() []string {
	var commands []string
	n.node.View(func() { commands = slices.Clone(n.machine.commands) })
	return commands
}

// converge waits until every running node has applied the same commands, these
// among them.
func (c *testCluster) converge(want ...string) {
	c.t.Helper()
	eventually(c.t, "the same state everywhere", func() error {
		var first []string
		for _, n := range c.nodes {
			if n.stop == nil {
				continue
			}
			got := n.applied()
			for _, w := range want {
				if !slices.Contains(got, w) {
					return fmt.Errorf("%s lacks %q: %d commands; %+v", n.name, w, len(got), n.node.Status())
				}
			}
			if first == nil {
				first = got
			}
			if !slices.Equal(first, got) {
				return fmt.Errorf("%s has %d commands, another %d", n.name, len(got), len(first))
			}
		}
		return nil
	})
}

// voters waits until the cluster has these voters, by name.
func (c *testCluster) voters(want ...string) {
	c.t.Helper()
	eventually(c.t, "the voters", func() error {
		for _, n := range c.nodes {
			if n.stop == nil {
				continue
			}
			var have []string
			for _, m := range n.node.Members() {
				if !m.Voter {
					return fmt.Errorf("%s does not vote yet", m.Name)
				}
				have = append(have, m.Name)
			}
			slices.Sort(have)
			if !slices.Equal(have, want) {
				return fmt.Errorf("%s knows the voters %v", n.name, have)
			}
		}
		return nil
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, generously.
func eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("waiting for %s: %v", what, err)
		case <-every.C:
		}
	}
}
