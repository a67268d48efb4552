package raftnode

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// checkEvery is how often a node looks whether its snapshot is due.
const checkEvery = time.Second

// keptBytes bounds the log that stays behind a snapshot.
const keptBytes = 256 << 20

// snapshotWhenDue takes snapshots until ctx ends.
//
// A snapshot is due whenever the log has grown by another SnapshotEntries or
// SnapshotBytes. Both are counted from the cluster's beginning and are the same
// on every node, and each node is due at its own part of the way: so they take
// turns, across restarts too.
func (n *Node) snapshotWhenDue(ctx context.Context, r *raft.Raft) {
	every := time.NewTicker(checkEvery)
	defer every.Stop()
	last := n.position() // of the newest snapshot: it has just been restored
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		now, phase := n.position(), n.phase(r)
		if !due(last.entries, now.entries, n.config.SnapshotEntries, phase) && !due(last.bytes, now.bytes, n.config.SnapshotBytes, phase) {
			continue
		}
		n.limitTrailing(r, last, now)
		if err := r.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			if ctx.Err() == nil {
				n.log.Warn("no snapshot taken; trying again", "error", err)
			}
			continue
		}
		last = now
	}
}

// position is how far the log has been applied.
type position struct{ entries, bytes uint64 }

func (n *Node) position() position { return position{n.replica.applied.Load(), n.replica.bytes.Load()} }

// due says whether a multiple of every, shifted by the phase (0 to 1), lies
// between the two.
func due(last, now, every uint64, phase float64) bool {
	shift := every - uint64(phase*float64(every))
	return (now+shift)/every > (last+shift)/every
}

// phase is this node's place among the members, from 0 to 1.
func (n *Node) phase(r *raft.Raft) float64 {
	ids := []string{}
	for _, s := range servers(r) {
		ids = append(ids, string(s.ID))
	}
	slices.Sort(ids)
	at := slices.Index(ids, string(n.self.ID))
	if at < 0 {
		return 0
	}
	return float64(at) / float64(len(ids))
}

// minTrailing stay however large they are.
const minTrailing = 256

// limitTrailing keeps fewer entries when they are large.
func (n *Node) limitTrailing(r *raft.Raft, last, now position) {
	keep := n.config.TrailingLogs
	if entries := now.entries - last.entries; entries > 0 {
		average := max(1, (now.bytes-last.bytes)/entries)
		keep = min(keep, max(keptBytes/average, minTrailing))
	}
	c := r.ReloadableConfig()
	c.TrailingLogs = keep
	if err := r.ReloadConfig(c); err != nil {
		n.log.Warn("trailing logs not changed", "error", err)
	}
}

// SnapshotNow takes a snapshot, whether it is due or not.
func (n *Node) SnapshotNow(ctx context.Context) error {
	r := n.raft.Load()
	if r == nil {
		return ErrClosed
	}
	err := n.await(ctx, time.Hour, r.Snapshot())
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}
