package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/api"
	"github.com/weirbuild/weir/scheduler/auth"
	"github.com/weirbuild/weir/scheduler/lead"
	"github.com/weirbuild/weir/scheduler/logs"
	"github.com/weirbuild/weir/scheduler/logstore/disk"
	"github.com/weirbuild/weir/scheduler/peers"
	"github.com/weirbuild/weir/scheduler/state"
)

// drainTime is how long calls in progress may take when the node stops.
const drainTime = 3 * time.Second

// Run runs a node until ctx ends. Then it hands its office over, lets calls in
// progress end, and stops.
func Run(ctx context.Context, cfg Config, logger hclog.Logger) error {
	s, err := Open(cfg, logger, Hooks{})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Hooks are what a test puts between a node and the world. The zero value is
// the world itself.
type Hooks struct {
	Listen func(address string) (net.Listener, error) // the node's one port
	Dial   raftnode.DialFunc                          // connections to other nodes
	Faults *raftnode.Faults                           // of the disk
}

// Server is one node. Open, then Run.
type Server struct {
	cfg      Config
	hooks    Hooks
	log      hclog.Logger
	registry *prometheus.Registry

	tls    *mtls.Node
	port   net.Listener
	mux    *raftnode.Mux
	store  *state.Store
	disk   *disk.Store
	peers  *peers.Set
	guard  *auth.Guard
	leader *lead.Leader
	logs   *logs.Service
	api    *api.Server
	grpc   *grpc.Server
	skew   *skew
	expiry *expiry
	web    *web

	stopping chan struct{} // closed when the node serves no more
}

// Open checks the configuration and opens everything that a node keeps on disk,
// and its port. Nothing talks to anyone yet.
func Open(cfg Config, logger hclog.Logger, hooks Hooks) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check configuration:\n%w", err)
	}
	s := &Server{cfg: cfg, hooks: hooks, log: logger, registry: newRegistry(), stopping: make(chan struct{})}
	for _, open := range []func() error{s.openIdentity, s.openPort, s.openState, s.openLogStore, s.connect} {
		if err := open(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *Server) openIdentity() (err error) {
	file := func(name string) string { return filepath.Join(s.cfg.TLSDir, name) }
	s.tls, err = mtls.LoadNode(mtls.Files{Cert: file(certFile), Key: file(keyFile), CA: file(caFile)}, s.log.Named("tls"))
	if err != nil {
		return err
	}
	certified := mtls.NodeName(s.tls.Certificate())
	if s.cfg.Name == "" {
		s.cfg.Name = certified
	}
	if s.cfg.Name != certified {
		return fmt.Errorf("start node %q: its certificate is for node %q: use --name %[2]s, or make a certificate for %[1]q with 'weir tls cert create'", s.cfg.Name, certified)
	}
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	return nil
}

func (s *Server) openPort() error {
	listen := s.hooks.Listen
	if listen == nil {
		listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	port, err := listen(s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for clients, workers and nodes (--listen): %w", err)
	}
	s.port = port
	s.mux = raftnode.NewMux(port, s.tls.ServerConfig(), s.log.Named("port"), s.alert)
	return nil
}

// alert records a connection that was refused for what it is.
func (s *Server) alert(remote, what string) { s.guard.Alert(remote, what) }

func (s *Server) openState() (err error) {
	profile, err := raftnode.ProfileByName(s.cfg.Profile)
	if err != nil {
		return err
	}
	s.store, err = state.Open(raftnode.Config{
		DataDir: s.cfg.DataDir, Name: s.cfg.Name, Advertise: s.cfg.advertised(),
		BootstrapExpect: s.cfg.BootstrapExpect, Join: s.cfg.Join,
		GossipKeyFile: s.cfg.GossipKeyFile, GossipListen: s.cfg.GossipListen,
		Profile: profile, LogStore: s.cfg.LogStore, SnapshotEntries: s.cfg.SnapshotEntries,
		Raft: s.mux.Raft(), DialTLS: s.tls.ClientConfig, Dial: s.hooks.Dial, Faults: s.hooks.Faults,
		Audit:   s.alert,
		Version: s.cfg.Version, Logger: s.log.Named("raft"), Registerer: s.registry,
	})
	return err
}

func (s *Server) openLogStore() (err error) {
	s.disk, err = disk.Open(disk.Options{
		Dir: filepath.Join(s.cfg.DataDir, "logs"), BudgetBytes: int64(s.cfg.LogBudget),
		Logger: s.log.Named("logstore"), Registerer: s.registry,
	})
	return err
}

// connect makes the services and tells them of each other.
func (s *Server) connect() error {
	node := s.store.Node()
	cluster := func() string { return string(node.ClusterID()) }
	s.peers = peers.New(peers.Config{Credentials: s.tls.Dialing(), Cluster: cluster, Members: node.Members, Dial: dialer(s.hooks.Dial)})
	s.guard = auth.New(auth.Config{State: s.store, Leads: s.Leads, Cluster: cluster, Name: s.cfg.Name,
		Empty: func() bool { return node.Status().LastIndex == 0 }, Why: func() string { return node.Status().Why }, Logger: s.log})
	timings := lead.Timings(s.profile())
	s.leader = lead.New(timings, s.store, s.log.Named("lead"), s.registry)
	s.logs = logs.New(logs.Config{
		Self: node.ID(), Store: s.store, Disk: s.disk, Peers: s.peers, Leader: s.leaderAsMember, WhileLed: node.WhileLed, Heard: s.heard,
		Logger: s.log.Named("logs"), Meter: s.registry,
	})
	survey := &api.Survey{Name: s.cfg.Name, Self: func() string { return describe(node.Status()) }, Disk: func() string { return node.Status().Disk }, Peers: s.peers}
	forwarder := &api.Forwarder{Name: s.cfg.Name, Leads: s.Leads, Leader: node.Leader, WhileLed: node.WhileLed, Peers: s.peers, Guard: s.guard, Survey: survey, Stopping: s.stopping}
	s.api = api.New(api.Config{
		Name: s.cfg.Name, Store: s.store, Leader: s.leader, Logs: s.logs, Guard: s.guard, Forwarder: forwarder,
		Membership: api.Membership(node, s.certificate), LeaseTTL: timings.LeaseTTL, Pins: s.pins, Registerer: s.registry,
	})
	s.grpc = grpc.NewServer(s.api.Options()...)
	s.api.Register(s.grpc)
	s.skew = newSkew(s.peers, s.cfg.Name, s.registry)
	s.expiry = newExpiry(s.tls, s.log.Named("tls"), s.registry)
	return s.openWeb()
}

// certificate returns when the node's certificate ends, and what else needs care
// soon.
func (s *Server) certificate() (expires time.Time, warning string) {
	warning, _ = s.expiry.warning(time.Now())
	if logs := s.logs.Trouble(); logs != "" {
		warning = strings.TrimPrefix(warning+"; "+logs, "; ")
	}
	return s.expiry.end(), warning
}

func (s *Server) leaderAsMember() (raftnode.Member, bool) {
	p, ok := s.store.Node().Leader()
	return raftnode.Member{Peer: p, Leader: ok}, ok
}

func (s *Server) profile() raftnode.Profile {
	p, err := raftnode.ProfileByName(s.cfg.Profile)
	if err != nil { // Validate has checked it
		return raftnode.Default
	}
	return p
}

// heard is what the leader knows of a worker, for readers of its log.
func (s *Server) heard(pool, worker string) logs.Liveness {
	for _, w := range s.leader.Workers(pool) {
		if w.Name == worker {
			return logs.Liveness{Known: w.Connected || w.LastHeardMsAgo > 0, Connected: w.Connected, Ago: time.Duration(w.LastHeardMsAgo) * time.Millisecond}
		}
	}
	return logs.Liveness{}
}

func (s *Server) pins() []string {
	var all []string
	for _, p := range s.tls.Pins() {
		all = append(all, p.String())
	}
	return all
}

func dialer(dial raftnode.DialFunc) func(context.Context, string) (net.Conn, error) {
	if dial == nil {
		return nil
	}
	return func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }
}

// describe is a node's own state in a few words.
func describe(st raftnode.Status) string {
	text := fmt.Sprintf("%s in term %d", st.State, st.Term)
	if st.Leader.Name != "" {
		text += ", follows " + st.Leader.Name
	}
	if st.Why != "" {
		text += ", " + st.Why
	}
	return text
}

// close releases what Open opened, for a server that will not run.
func (s *Server) close() error {
	var errs []error
	if s.store != nil {
		errs = append(errs, s.store.Node().Close())
	}
	if s.port != nil {
		errs = append(errs, s.port.Close())
	}
	return errors.Join(append(errs, s.release())...)
}

// release closes what lives longer than every part of the server.
func (s *Server) release() error {
	var errs []error
	if s.peers != nil {
		errs = append(errs, s.peers.Close())
	}
	if s.disk != nil {
		errs = append(errs, s.disk.Close())
	}
	return errors.Join(errs...)
}

// Store is the node's replicated state.
func (s *Server) Store() *state.Store { return s.store }

// Leads says whether this node is in office.
func (s *Server) Leads() bool { _, ok := s.store.Leading(); return ok }

// HTTPAddress is where the node serves monitoring; empty: nowhere.
func (s *Server) HTTPAddress() string { return s.web.address() }
