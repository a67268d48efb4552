package raftnode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Run makes or joins the cluster and then takes part in it until ctx ends. It
// calls lead for each term of office that this node wins, after everything that
// earlier leaders committed has been applied here. The term's context ends the
// moment office is lost; the next term begins only when lead has returned. A
// lead that returns earlier hands the office to another node; where none takes
// it, lead is called again for the same term.
//
// The Membership service must be served while Run runs: other nodes ask it.
//
// When ctx ends, a leader transfers its office first; then Raft stops and the
// stores are closed. A node runs once.
func (n *Node) Run(ctx context.Context, lead func(term context.Context) error) (err error) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer func() { err = errors.Join(err, n.closeStores()) }()
	var parts sync.WaitGroup
	defer func() { parts.Wait(); n.prober.rounds.Wait() }()
	defer n.beginStop()
	defer stop()
	defer n.stream.end()
	parts.Go(n.stream.run)
	if n.config.GossipKeyFile != "" {
		g, err := n.startGossip()
		if err != nil {
			return err
		}
		defer g.stop()
		parts.Go(func() { g.run(work) })
	}

	if err := n.bootstrapOrJoin(ctx); ctx.Err() != nil {
		return nil
	} else if err != nil {
		return fmt.Errorf("start node %s: %w", n.self, err)
	}
	return n.takePart(ctx, work, &parts, newTerms(n, lead))
}

// takePart runs Raft until ctx ends, and leaves its helpers to work's end.
func (n *Node) takePart(ctx, work context.Context, parts *sync.WaitGroup, terms *terms) error {
	notify := make(chan bool, 16)
	r, err := n.startRaft(notify)
	if err != nil {
		return fmt.Errorf("start node %s: %w", n.self, err)
	}
	n.log.Info("node runs", "node", n.self, "id", n.self.ID, "cluster", n.cluster(), "store", n.config.LogStore)

	foreign := make(chan error, 1)
	for _, part := range []func(){
		func() { terms.watch(work, notify) },
		func() { terms.serve(work) },
		func() { n.proposer.run(work, r) },
		func() { n.verifier.run(work, r) },
		func() { n.announce(work) },
		func() { n.followLeaders(work, r) },
		func() { n.snapshotWhenDue(work, r) },
		func() { collectEarly(work) },
		func() { n.checkCluster(work, foreign) },
	} {
		parts.Go(part)
	}
	select {
	case <-ctx.Done():
	case err = <-foreign:
	}
	n.leaveOffice(r)
	return errors.Join(err, n.stopRaft(r))
}

func (n *Node) startRaft(notify chan<- bool) (r *raft.Raft, err error) {
	defer n.recoverUnreadable(&err)
	cache, err := raft.NewLogCache(logCache, n.logs)
	if err != nil {
		return nil, err
	}
	wire := &transport{n.newTransport(), n.contacts, newBeats(n.config.Profile.Heartbeat)}
	r, err = raft.NewRaft(n.raftConfig(notify), n.replica, cache, n.stable, n.snapshots, wire)
	if err != nil {
		return nil, err
	}
	n.raft.Store(r)
	n.setBoot("")
	return r, nil
}

// recoverUnreadable turns the panic with which Raft meets an entry that it cannot
// read into an error. The machine's own panics are not touched.
func (n *Node) recoverUnreadable(err *error) {
	p := recover()
	if p == nil {
		return
	}
	unreadable, ok := p.(error)
	if _, bug := p.(runtime.Error); !ok || bug {
		panic(p)
	}
	*err = explainStore("read", n.config.logPath(), unreadable)
}

func (n *Node) newTransport() *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.stream, Logger: newQuiet(n.log.Named("transport")), MaxPool: 4, Timeout: n.config.Profile.RPC,
		// Pipelining stops replication for good after an error of a follower's
		// store, while its heartbeats look healthy.
		MaxRPCsInFlight:         1,
		MsgpackUseNewTimeFormat: true,
	})
}

func (n *Node) raftConfig(notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	p := n.config.Profile
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = p.Heartbeat, p.Election, p.Lease
	// How long an idle cluster's followers may lag; more often costs CPU for nothing.
	c.CommitTimeout = p.Heartbeat * 2 / 5
	c.LocalID = raft.ServerID(n.self.ID)
	c.NotifyCh = notify
	c.Logger = newQuiet(n.log.Named("raft"))
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	// Snapshots are taken by snapshotWhenDue.
	c.SnapshotThreshold, c.SnapshotInterval = math.MaxUint64, time.Hour
	c.TrailingLogs = n.config.TrailingLogs
	return c
}

// leaveOffice hands a leader's office to another voter, if there is one.
func (n *Node) leaveOffice(r *raft.Raft) {
	if r.State() != raft.Leader || len(n.otherVoters()) == 0 {
		return
	}
	if err := n.await(context.Background(), stopPatience, r.LeadershipTransfer()); err != nil {
		n.log.Warn("office not transferred before the stop", "error", err)
	}
}

// await waits for a future, which by itself knows no deadline.
func (n *Node) await(ctx context.Context, patience time.Duration, f raft.Future) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer from Raft within %v", patience))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Error() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (n *Node) stopRaft(r *raft.Raft) error {
	n.beginStop()
	stopped := r.Shutdown()
	n.stream.end() // what still waits for an answer need not
	err := n.await(context.Background(), stopPatience, stopped)
	if err != nil {
		err = fmt.Errorf("stop raft: %w", err)
	}
	return err
}
