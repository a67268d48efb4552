package raftnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// askEvery is how often an empty node asks the others.
const askEvery = 300 * time.Millisecond

// claimLasts is how long an empty node keeps its word to the maker of a cluster.
const claimLasts = 10 * time.Second

// answer is what one address said to an empty node.
type answer struct {
	address string
	err     error
	peer    Peer
	cluster ClusterID // empty: that node is empty too
	expect  int
	says    string
	timings *timings
}

// decision is what an empty node does next: join a cluster, make one of these
// peers, or, with neither, wait for the reason given.
type decision struct {
	join   ClusterID
	make   []Peer
	waits  string
	refuse error // it can never become right by itself
}

// bootstrapOrJoin returns when the node belongs to a cluster. A node with state
// does so already.
func (n *Node) bootstrapOrJoin(ctx context.Context) error {
	if n.hasState || n.cluster() != "" {
		return nil
	}
	if expect := n.config.BootstrapExpect; expect > 0 && expect%2 == 0 {
		n.log.Warn("an even number of nodes survives no more losses than one node fewer: make the cluster of 3 or 5",
			"bootstrap-expect", expect, "survives", (expect-1)/2)
	}
	said := ""
	for {
		if cluster := n.invitation(); cluster != "" {
			return n.adopt(cluster)
		}
		answers := n.askAll(ctx)
		d := decide(n.self, n.config.BootstrapExpect, n.profiles.own, answers)
		switch {
		case d.refuse != nil:
			return d.refuse
		case d.join != "":
			return n.adopt(d.join)
		case d.make != nil:
			if err := n.makeCluster(ctx, d.make); err == nil {
				return nil
			} else {
				d.waits = err.Error()
			}
		}
		if report := describe(d.waits, answers); report != said {
			said = report
			n.setBoot(report)
			n.log.Info("waiting for a cluster", "report", report)
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// decide is pure: the same answers give the same decision on every node.
func decide(self Peer, expect int, own *timings, answers []answer) decision {
	known := map[ClusterID]string{}
	empty := []Peer{self}
	silent := 0
	for _, a := range answers {
		switch {
		case a.err != nil:
			silent++
		case a.peer.ID == self.ID:
		case a.cluster != "":
			known[a.cluster] = a.address
		case a.peer.Name == self.Name:
			return decision{refuse: fmt.Errorf("%s calls itself %q too: every node needs a name and a certificate of its own", a.address, a.peer.Name)}
		case expect > 0 && a.expect > 0 && a.expect != expect:
			return decision{waits: fmt.Sprintf("%s expects %d nodes, this node %d: give all the same --bootstrap-expect", a.peer, a.expect, expect)}
		case own.differ(a.timings):
			return decision{waits: fmt.Sprintf("node %s runs profile %s, this one %s: %s", a.peer, a.timings, own, oneProfile)}
		case !slices.ContainsFunc(empty, func(p Peer) bool { return p.ID == a.peer.ID }):
			empty = append(empty, a.peer)
		}
	}
	if len(known) > 1 {
		return decision{waits: fmt.Sprintf("the join addresses belong to %d clusters: remove those of the others", len(known))}
	}
	for cluster := range known {
		return decision{join: cluster}
	}
	return decideToMake(self, expect, empty, silent)
}

// decideToMake makes a cluster only when every listed address has answered that
// it is empty: one that is silent may hold the data of a cluster whose other
// nodes have lost theirs.
func decideToMake(self Peer, expect int, empty []Peer, silent int) decision {
	switch {
	case expect == 0:
		return decision{waits: "no join address knows a cluster, and without --bootstrap-expect this node makes none"}
	case silent > 0:
		return decision{waits: "a cluster is made only when every join address has answered: start the silent nodes; if one is gone for good, " +
			"and no node holds data that you need, remove its address from --join on all nodes"}
	case len(empty) < expect:
		return decision{waits: fmt.Sprintf("%d of the %d expected nodes are here: start the others, or add their addresses to --join", len(empty), expect)}
	}
	slices.SortFunc(empty, func(a, b Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if empty[0].ID != self.ID {
		return decision{waits: fmt.Sprintf("%s makes the cluster", empty[0])}
	}
	return decision{make: empty}
}

// describe says which nodes were reached, what each said, and what to do.
func describe(waits string, answers []answer) string {
	var b strings.Builder
	b.WriteString(waits)
	for _, a := range answers {
		switch code := status.Code(a.err); {
		case a.err == nil:
			fmt.Fprintf(&b, "; %s says %q", cmp.Or(a.peer, Peer{Address: a.address}), a.says)
		case code == codes.Unavailable || code == codes.DeadlineExceeded:
			fmt.Fprintf(&b, "; %s was not reached: %s", a.address, status.Convert(a.err).Message())
		default:
			fmt.Fprintf(&b, "; %s refuses: %s", a.address, status.Convert(a.err).Message())
		}
	}
	return b.String()
}

// adopt makes this node one of the cluster's.
func (n *Node) adopt(cluster ClusterID) error {
	if err := n.dir.setClusterID(cluster); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clusterID = cluster
	return nil
}

// claim asks this empty node to belong to a cluster that is being made. It
// agrees to one at a time, so that no two can be made with the same nodes.
func (n *Node) claim(cluster ClusterID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.clusterID != "" || n.hasState {
		return fmt.Errorf("this node belongs to cluster %s", n.clusterID)
	}
	if n.claimed != "" && n.claimed != cluster && time.Since(n.claimedAt) < claimLasts {
		return fmt.Errorf("this node has just agreed to cluster %s", n.claimed)
	}
	n.claimed, n.claimedAt = cluster, time.Now()
	return nil
}

// invite notes that a member speaks to this empty node, by its identity, as one
// of the cluster's: an operator has added it. The member tries again.
func (n *Node) invite(cluster ClusterID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.claimed != "" && n.claimed != cluster && time.Since(n.claimedAt) < claimLasts {
		return fmt.Errorf("this node has just agreed to cluster %s", n.claimed)
	}
	n.invited = cluster
	return errors.New("this node is only just joining")
}

func (n *Node) invitation() ClusterID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.invited
}

// makeCluster has all peers agree, then writes the first entry of the log, then
// the cluster's id, and only then answers with it.
func (n *Node) makeCluster(ctx context.Context, voters []Peer) error {
	begun := time.Now()
	n.mu.Lock()
	cluster := n.claimed // the same at each attempt
	n.mu.Unlock()
	if cluster == "" {
		cluster = ClusterID(uuid.NewString())
	}
	if err := n.claim(cluster); err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, claimLasts/4)
	defer cancel()
	for _, v := range voters {
		if v.ID == n.self.ID {
			continue
		}
		if err := n.stream.ask(ask, v, forClaim, cluster); err != nil {
			return fmt.Errorf("%s does not agree to the new cluster: %w", v, err)
		}
	}
	if time.Since(begun) > claimLasts/2 {
		return errors.New("the others took too long to agree to the new cluster")
	}
	var c raft.Configuration
	for _, v := range voters {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(v.ID), Address: v.raftAddress()})
	}
	if err := raft.BootstrapCluster(n.raftConfig(nil), n.logs, n.stable, n.snapshots, nil, c); err != nil {
		return fmt.Errorf("write the first entry: %w", err)
	}
	n.log.Info("cluster made", "cluster", cluster, "voters", fmt.Sprint(voters))
	return n.adopt(cluster)
}

func (n *Node) setBoot(report string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.boot = report
}
