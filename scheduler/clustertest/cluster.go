package clustertest

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/scheduler"
)

// Patience is how long a test waits for what must happen.
const Patience = 60 * time.Second

// Options say what to run. The zero value is three nodes with the local profile.
type Options struct {
	Nodes  int
	Change func(*scheduler.Config) // has the last word on every node's configuration
	Level  hclog.Level             // of the log that a failed test prints; 0: info
}

// Cluster is a running cluster.
type Cluster struct {
	Net   *Network
	Nodes []*Node
	Admin capability.Capability

	t       testing.TB
	options Options
	dir     string
	ca      *mtls.Authority
	log     hclog.Logger
}

// Start starts a cluster, which ends with the test, and makes its admin
// capability.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &Cluster{Net: NewNetwork(), t: t, options: o, dir: t.TempDir()}
	c.log = testLog(t, c.dir, o.Level)
	ca, err := mtls.NewAuthority("test cluster", time.Hour)
	c.must(err)
	c.ca = ca
	for i := range o.Nodes {
		c.Nodes = append(c.Nodes, c.newNode(fmt.Sprintf("n%d", i+1)))
	}
	t.Cleanup(c.stop)
	for _, n := range c.Nodes {
		n.Start()
	}
	c.Admin = c.initAdmin()
	return c
}

// AddNode makes one more node, which is not started.
func (c *Cluster) AddNode(name string) *Node {
	c.t.Helper()
	n := c.newNode(name)
	c.Nodes = append(c.Nodes, n)
	return n
}

func (c *Cluster) stop() {
	c.Net.Heal()
	for _, n := range c.Nodes {
		n.Stop()
	}
	for _, n := range c.Nodes {
		n.proxy.stop()
	}
}

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// Context ends with the test's patience.
func (c *Cluster) Context() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), Patience)
	c.t.Cleanup(cancel)
	return ctx
}

// Wait returns once cond is true; what says what is waited for.
func (c *Cluster) Wait(what string, cond func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(Patience)
	for !cond() {
		if time.Now().After(deadline) {
			c.t.Fatalf("wait for %s: it did not happen within %v", what, Patience)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Leader returns the node that is in office, once there is one.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	var leader *Node
	c.Wait("a leader", func() bool {
		for _, n := range c.Nodes {
			if n.Leads() {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// Followers returns the running nodes that are not in office.
func (c *Cluster) Followers() []*Node {
	leader := c.Leader()
	var all []*Node
	for _, n := range c.Nodes {
		if n != leader && n.Runs() {
			all = append(all, n)
		}
	}
	return all
}

// addresses are those that clients and workers dial.
func (c *Cluster) addresses(nodes ...*Node) []string {
	if len(nodes) == 0 {
		nodes = c.Nodes
	}
	var all []string
	for _, n := range nodes {
		all = append(all, n.Address)
	}
	return all
}

// Client returns a client that uses only the given nodes; all, if none is given.
func (c *Cluster) Client(with capability.Capability, nodes ...*Node) *client.Client {
	c.t.Helper()
	narrowed, err := capability.New(with.Token(), c.addresses(nodes...), with.Pins())
	c.must(err)
	cl, err := client.New(narrowed, client.Options{Patience: Patience / 2})
	c.must(err)
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

func (c *Cluster) initAdmin() capability.Capability {
	c.t.Helper()
	cl, err := client.NewWithCredentials(c.addresses(), c.Nodes[0].identity().Dialing(), client.Options{Patience: Patience})
	c.must(err)
	defer cl.Close()
	c.Leader()
	token, hash := newToken()
	made, err := cl.Admin().AdminInit(c.Context(), &pb.AdminInitRequest{TokenSha256: hash})
	c.must(err)
	return c.assemble(made, token)
}

// NewCapability makes a capability.
func (c *Cluster) NewCapability(want *pb.CreateCapabilityRequest) (capability.Capability, string) {
	c.t.Helper()
	token, hash := newToken()
	want.TokenSha256 = hash
	made, err := c.Client(c.Admin).Admin().CreateCapability(c.Context(), want)
	c.must(err)
	return c.assemble(made, token), made.Capability.Id
}

// NewPool makes a pool and returns its worker capability.
func (c *Cluster) NewPool(name string, config *pb.PoolConfig) capability.Capability {
	c.t.Helper()
	c.make(func(cl *client.Client) error {
		_, err := cl.Admin().CreatePool(c.Context(), &pb.CreatePoolRequest{Name: name, Config: config})
		return err
	})
	with, _ := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{name}})
	return with
}

// NewClient makes a client and returns its submit capability.
func (c *Cluster) NewClient(name string, pools ...string) capability.Capability {
	c.t.Helper()
	c.make(func(cl *client.Client) error {
		_, err := cl.Admin().AddClient(c.Context(), &pb.AddClientRequest{Name: name})
		return err
	})
	with, _ := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: name, Pools: pools})
	return with
}

// make makes something that can be made once. On a crowded machine the leader may
// lose its office in the middle of it: then it is asked for again, and may be
// there.
func (c *Cluster) make(ask func(*client.Client) error) {
	c.t.Helper()
	cl, unknown := c.Client(c.Admin), false
	for {
		err := ask(cl)
		switch why := client.Reason(err); {
		case why == reason.UnknownOutcome:
			unknown = true
		case unknown && why == reason.Conflict:
			return
		default:
			c.must(err)
			return
		}
	}
}

func newToken() (capability.Token, []byte) {
	token := capability.NewToken()
	hash, err := hex.DecodeString(token.Hash())
	if err != nil {
		panic(err)
	}
	return token, hash
}

// assemble makes a capability as the command line does, from what the cluster
// returned.
func (c *Cluster) assemble(made *pb.NewCapability, token capability.Token) capability.Capability {
	c.t.Helper()
	var pins []mtls.Pin
	for _, text := range made.CaPins {
		pin, err := mtls.ParsePin(text)
		c.must(err)
		pins = append(pins, pin)
	}
	full, err := capability.New(token, made.Addresses, pins)
	c.must(err)
	return full
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Log returns what the nodes and workers have logged so far.
func (c *Cluster) Log() string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, logFile))
	c.must(err)
	return string(text)
}

const logFile = "log"

// testLog keeps what the nodes log in a file, and prints it if the test fails.
func testLog(t testing.TB, dir string, level hclog.Level) hclog.Logger {
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	path := filepath.Join(dir, logFile)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		file.Close()
		if text, err := os.ReadFile(path); err == nil && t.Failed() {
			t.Logf("the nodes' log:\n%s", text)
		}
	})
	return hclog.New(&hclog.LoggerOptions{Output: file, Level: level, TimeFormat: "15:04:05.000"})
}
