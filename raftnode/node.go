package raftnode

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// stopPatience is how long a stopping node waits for a disk that hangs, and for
// another node to take its office over.
const stopPatience = 5 * time.Second

// logCache is how many recent entries stay in memory for followers. Under load an
// entry is 50 KB, and a follower that works is a handful behind.
const logCache = 64

// Node is one member of a Raft cluster. Open, then Run.
type Node struct {
	config Config
	self   Peer
	log    hclog.Logger

	dir       *dataDir
	health    *health
	logs      *guardedLog
	stable    *guardedStable
	snapshots *raft.FileSnapshotStore
	hasState  bool
	stopping  chan struct{} // closed when the stores are to give up

	replica   *replica
	proposer  *proposer
	verifier  *verifier
	contacts  *contacts
	prober    *prober
	stream    *stream
	following following
	profiles  *profiles
	office    atomic.Pointer[term] // nil: not in office
	raft      atomic.Pointer[raft.Raft]
	gossip    atomic.Pointer[gossip] // nil: there is none
	metrics   *metrics

	changing chan struct{} // holds one token while the membership is not being changed

	mu        sync.Mutex
	clusterID ClusterID
	claimed   ClusterID // a cluster in the making that this empty node agreed to join
	claimedAt time.Time
	invited   ClusterID // a cluster that has this empty node among its members
	boot      string    // what the node is doing until Raft runs
}

// Open opens the node's identity and stores. Nothing talks to anyone yet.
func Open(config Config, machine Machine) (*Node, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("open node %q: %w", config.Name, err)
	}
	n := &Node{config: config, log: config.Logger, stopping: make(chan struct{}), changing: make(chan struct{}, 1)}
	n.changing <- struct{}{}
	if err := n.openStores(); err != nil {
		return nil, errors.Join(fmt.Errorf("open node %q: %w", config.Name, err), n.closeStores())
	}
	n.metrics = newMetrics(config.Registerer)
	n.logs.metrics, n.stable.metrics = n.metrics, n.metrics
	n.contacts = &contacts{}
	n.profiles = newProfiles(config.Profile, n.log)
	n.stream = &stream{
		self: n.self, listener: config.Raft, dialTLS: config.DialTLS, dial: config.Dial, patience: config.Profile.RPC,
		log: n.log.Named("stream"), audit: config.Audit, metrics: n.metrics, profiles: n.profiles, node: n,
		conns: make(chan *trackedConn),
	}
	n.stream.life, n.stream.end = context.WithCancel(context.Background())
	n.replica = &replica{
		machine: machine, observe: config.ApplyObserver, log: n.log, metrics: n.metrics,
		persist: persistOptions{filepath.Join(config.DataDir, snapshotDir), config.SnapshotRate, n.stopping},
	}
	n.proposer = newProposer(config.ProposeTimeout, n.metrics)
	n.verifier = newVerifier(n)
	n.prober = &prober{node: n}
	n.logs.office = n
	if config.Registerer != nil {
		n.metrics.watch(n)
	}
	return n, nil
}

func (n *Node) openStores() (err error) {
	c := &n.config
	if n.dir, err = openDataDir(c.DataDir); err != nil {
		return err
	}
	n.health = &health{}
	n.logs = &guardedLog{
		open: c.openLog, monotonic: c.LogStore == WAL, deadline: c.StoreDeadline,
		health: n.health, log: n.log.Named("store"), closing: n.stopping,
	}
	if n.logs.store, err = c.openLog(); err != nil {
		return err
	}
	n.stable = &guardedStable{
		open: c.openStable, settle: n.logs.settle, deadline: c.StoreDeadline,
		health: n.health, log: n.log.Named("store"), closing: n.stopping, probing: make(chan struct{}, 1),
	}
	n.stable.probing <- struct{}{}
	if n.stable.store, err = c.openStable(); err != nil {
		return err
	}
	if n.snapshots, err = openSnapshots(c.DataDir, n.log.Named("snapshots")); err != nil {
		return err
	}
	stable := filepath.Join(c.DataDir, stableFile)
	known, err := readFloor(n.stable.store, stable)
	if err != nil {
		return err
	}
	last, snapshot, err := checkLog(c.logPath(), n.logs.store, n.snapshots, known)
	if err != nil {
		return err
	}
	if n.hasState = last > 0 || snapshot > 0; n.hasState {
		if err := checkTerm(n.stable.store, stable); err != nil {
			return err
		}
	}
	n.logs.floor = &floor{stable: n.stable, index: known}
	n.logs.floor.raise(last)
	return n.identify()
}

// identify finds out who this node is.
func (n *Node) identify() error {
	id, err := n.dir.nodeID(n.hasState)
	if err != nil {
		return err
	}
	n.self = Peer{ID: id, Name: n.config.Name, Address: n.config.Advertise}
	if n.clusterID, err = n.dir.clusterID(); err != nil || n.clusterID != "" || !n.hasState {
		return err
	}
	// A crash right after bootstrap wrote the first entry: nobody can know of
	// that cluster yet, so its id can still be chosen.
	if last, err := n.logs.LastIndex(); err != nil || last > 1 {
		return errors.Join(err, fmt.Errorf("%s is missing beside existing state: copy it from another node of the cluster",
			filepath.Join(n.config.DataDir, clusterIDFile)))
	}
	n.clusterID = ClusterID(uuid.NewString())
	return n.dir.setClusterID(n.clusterID)
}

func (n *Node) closeStores() error {
	var errs []error
	last := func() {}
	if n.logs != nil && n.logs.store != nil {
		last = n.logs.noteFloor()
		errs = append(errs, n.logs.close())
	}
	if n.stable != nil && n.stable.store != nil {
		errs = append(errs, n.stable.close(last))
	}
	if n.dir != nil {
		errs = append(errs, n.dir.close())
	}
	return errors.Join(errs...)
}

// Close releases a node that will not run. Run closes the node itself.
func (n *Node) Close() error {
	n.beginStop()
	return n.closeStores()
}

func (n *Node) beginStop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.stopping:
	default:
		close(n.stopping)
	}
}

// ID is this node's identity.
func (n *Node) ID() NodeID { return n.self.ID }

// Name is this node's name.
func (n *Node) Name() string { return n.self.Name }

// ClusterID is empty until the node belongs to a cluster.
func (n *Node) ClusterID() ClusterID { return n.cluster() }

func (n *Node) cluster() ClusterID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clusterID
}

func (n *Node) raftRuns() bool { return n.raft.Load() != nil }

func (n *Node) probe(ctx context.Context) error { return n.stable.probe(ctx) }

func (n *Node) leading() bool {
	r := n.raft.Load()
	return r != nil && r.State() == raft.Leader
}

func (n *Node) askOthers() { n.prober.ask() }

func (n *Node) othersWrite() bool { return n.prober.heard(time.Second) }
