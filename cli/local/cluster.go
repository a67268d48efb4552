// Package local runs a whole weir cluster on one machine: every node and every
// worker a process of its own, with TLS, real disks and real signals. It serves
// the demo, the benchmark and the process tests, and promises to leave nothing
// running. It is no way to run a cluster that matters: all of it shares one
// machine's fate.
package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
)

// Config says what to run. Dir must exist; Binary is the weir program.
type Config struct {
	Dir      string
	Binary   string
	Nodes    int      // 0: three
	Profile  string   // "" means local
	LogStore string   // "" means bolt
	Host     string   // IP address of all nodes; "" means 127.0.0.1
	Flags    []string // more flags for every node
	Command  []string // what a node runs; nil: "server", with an admin capability made
}

// Node is one scheduler node; Process is nil while it is down.
type Node struct {
	Name    string
	Address string
	HTTP    string
	Dir     string
	Process *Process
}

// Cluster is a running cluster.
type Cluster struct {
	Config
	Nodes []*Node
	Admin capability.Capability

	mu      sync.Mutex
	workers []*Process
}

// Start makes certificates, starts the nodes, and makes the admin capability.
func Start(ctx context.Context, c Config) (*Cluster, error) {
	if c.Nodes == 0 {
		c.Nodes = 3
	}
	if c.Profile == "" {
		c.Profile = "local"
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	cl := &Cluster{Config: c}
	if err := cl.prepare(); err != nil {
		return nil, err
	}
	for i := range cl.Nodes {
		if err := cl.StartNode(i); err != nil {
			return nil, errors.Join(err, cl.Close())
		}
	}
	if c.Command != nil {
		return cl, nil
	}
	if err := cl.init(ctx); err != nil {
		return nil, errors.Join(err, cl.Close())
	}
	return cl, nil
}

// prepare makes the CA, a certificate and a directory for each node.
func (c *Cluster) prepare() error {
	ca, err := mtls.NewAuthority("weir on one machine", 7*24*time.Hour)
	if err != nil {
		return err
	}
	ports, err := freePorts(c.Host, 2*c.Config.Nodes)
	if err != nil {
		return err
	}
	for i := range c.Config.Nodes {
		n := &Node{Name: fmt.Sprintf("n%d", i+1), Address: ports[2*i], HTTP: ports[2*i+1]}
		n.Dir = filepath.Join(c.Dir, n.Name)
		if err := writeTLS(ca, n, c.Host); err != nil {
			return fmt.Errorf("prepare node %s: %w", n.Name, err)
		}
		c.Nodes = append(c.Nodes, n)
	}
	return nil
}

func writeTLS(ca *mtls.Authority, n *Node, host string) error {
	dir := n.TLSDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	pair, err := ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: n.Name, Hosts: []string{host}, Valid: 7 * 24 * time.Hour})
	if err != nil {
		return err
	}
	if err := pair.Save(filepath.Join(dir, "node.pem"), filepath.Join(dir, "node-key.pem")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "ca.pem"), ca.CertPEM(), 0o644)
}

// TLSDir has the node's certificate.
func (n *Node) TLSDir() string { return filepath.Join(n.Dir, "tls") }

// DataDir is where the node keeps its state.
func (n *Node) DataDir() string { return filepath.Join(n.Dir, "data") }

// Addresses are all nodes' addresses.
func (c *Cluster) Addresses() []string {
	var all []string
	for _, n := range c.Nodes {
		all = append(all, n.Address)
	}
	return all
}

// StartNode starts a node that is down, with what is on its disk.
func (c *Cluster) StartNode(i int) error {
	n := c.Nodes[i]
	command := c.Command
	if command == nil {
		command = []string{"server"}
	}
	args := append(slices.Clone(command),
		"--name", n.Name, "--data-dir", n.DataDir(), "--listen", n.Address, "--advertise", n.Address,
		"--http-listen", n.HTTP, "--tls-dir", n.TLSDir(), "--bootstrap-expect", fmt.Sprint(len(c.Nodes)), "--profile", c.Profile)
	for _, other := range c.Nodes {
		if other != n {
			args = append(args, "--join", other.Address)
		}
	}
	if c.LogStore != "" {
		args = append(args, "--log-store", c.LogStore)
	}
	p, err := launch(n.Name, filepath.Join(n.Dir, "log"), c.Binary, nil, append(args, c.Flags...)...)
	n.Process = p
	return err
}

// init makes the first admin capability as soon as there is a leader.
func (c *Cluster) init(ctx context.Context) error {
	file := filepath.Join(c.Dir, "admin.cap")
	args := []string{"admin", "init", "--tls-dir", c.Nodes[0].TLSDir(), "--file", file, "--wait", "60s"}
	for _, a := range c.Addresses() {
		args = append(args, "--node", a)
	}
	p, err := launch("admin init", filepath.Join(c.Dir, "admin-init.log"), c.Binary, nil, args...)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return context.Cause(ctx)
	}
	if c.Admin, err = capability.Load(file); err != nil {
		said, _ := os.ReadFile(p.Log)
		return fmt.Errorf("make the admin capability: %s", said)
	}
	return nil
}

// Client makes a client with a capability.
func (c *Cluster) Client(with capability.Capability, o client.Options) (*client.Client, error) {
	return client.New(with, o)
}

// StartWorker starts a worker; its state is under the cluster's directory.
func (c *Cluster) StartWorker(name string, capFile string, flags ...string) (*Process, error) {
	return c.StartWorkerBy(nil, name, capFile, flags...)
}

// StartWorkerBy starts a worker by another program, which must put the worker's
// in its own place: nsenter with its arguments, say.
func (c *Cluster) StartWorkerBy(by []string, name string, capFile string, flags ...string) (*Process, error) {
	dir := c.WorkerDir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start worker %s: %w", name, err)
	}
	argv := append(slices.Clone(by), c.Binary, "worker", "--connect", capFile, "--name", name, "--state-dir", filepath.Join(dir, "state"),
		"--metrics-listen", "")
	argv = append(argv, flags...)
	p, err := launch(name, filepath.Join(dir, "log"), argv[0], nil, argv[1:]...)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = append(c.workers, p)
	return p, nil
}

// WorkerDir is where a worker's state and log are.
func (c *Cluster) WorkerDir(name string) string { return filepath.Join(c.Dir, name) }

// Leader asks the nodes who leads, until one says it does.
func (c *Cluster) Leader(ctx context.Context, cl *client.Client) (*Node, error) {
	for {
		for _, r := range cl.Survey(ctx) {
			if r.Status.GetState() != "leader" {
				continue
			}
			i := slices.IndexFunc(c.Nodes, func(n *Node) bool { return n.Address == r.Address })
			if i >= 0 {
				return c.Nodes[i], nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("find the leader: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close stops the workers, then the nodes, and waits for all.
func (c *Cluster) Close() error {
	c.mu.Lock()
	workers := slices.Clone(c.workers)
	c.mu.Unlock()
	nodes := make([]*Process, 0, len(c.Nodes))
	for _, n := range c.Nodes {
		if n.Process != nil {
			nodes = append(nodes, n.Process)
		}
	}
	return errors.Join(stopAll(workers), stopAll(nodes))
}

func stopAll(all []*Process) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() { errs[i] = p.Stop() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// freePorts finds addresses of a host that nothing listens on.
func freePorts(host string, n int) ([]string, error) {
	var all []string
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all at the end, so that none is found twice
		all = append(all, l.Addr().String())
	}
	return all, nil
}
