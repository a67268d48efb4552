package raftnode

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Status is a node as it is now.
type Status struct {
	Self      Peer
	ClusterID ClusterID

	State       string // leader, follower, candidate; joining, waiting before Raft runs; stopped
	InOffice    bool   // leads, and has applied all that came before
	Term        uint64
	Leader      Peer // empty: none is known
	LastIndex   uint64
	Applied     uint64 // handed to the machine, which may be some microseconds behind
	Commit      uint64
	LastContact time.Duration // since the leader was heard; 0 on the leader; -1: never
	Voters      int
	Members     []Member

	Ready bool   // it can serve: reads and, through the leader, writes
	Why   string // it is not ready, and what to do

	Disk string // at what the node's disk fails now; empty: nothing

	Warning string // what needs care soon, ready or not, and what to do; empty: nothing
}

// Status describes the node. It never blocks.
func (n *Node) Status() Status {
	s := Status{Self: n.self, ClusterID: n.cluster(), LastContact: -1}
	r := n.raft.Load()
	if r == nil {
		n.mu.Lock()
		s.State, s.Why = "waiting", n.boot
		n.mu.Unlock()
		return s
	}
	s.State = strings.ToLower(r.State().String())
	s.Term, s.LastIndex, s.Applied, s.Commit = r.CurrentTerm(), r.LastIndex(), r.AppliedIndex(), r.CommitIndex()
	s.InOffice = n.office.Load() != nil
	s.Members = n.Members()
	s.Leader, _ = n.Leader()
	member := false
	for _, m := range s.Members {
		if m.Voter {
			s.Voters++
		}
		member = member || m.ID == n.self.ID
	}
	switch last := r.LastContact(); {
	case r.State() == raft.Leader:
		s.LastContact = 0
	case !last.IsZero():
		s.LastContact = time.Since(last)
	}
	if r.State() == raft.Follower && !member {
		s.State = "joining"
	}
	s.Disk = n.health.String()
	s.Why, s.Warning = n.unready(s, member), n.profiles.warning(s)
	s.Ready = s.Why == ""
	return s
}

// maxLag is how many committed entries a ready node may not have applied.
const maxLag = 1000

// notMember is what a node with data says that is among no members that it
// knows.
const notMember = "this node is not a member of the cluster: it was removed, or does not know yet that it was added; " +
	"to bring a removed one back, empty its data directory and start it again with --join"

func (n *Node) unready(s Status, member bool) string {
	if s.Disk != "" {
		return s.Disk
	}
	n.mu.Lock()
	boot := n.boot
	n.mu.Unlock()
	switch {
	case !member && boot != "":
		return boot
	case !member:
		return notMember
	case s.Leader.ID == "":
		return fmt.Sprintf("no leader is known: a majority of the %d voters must be reachable", s.Voters)
	case s.State == "leader" && !s.InOffice:
		return "just elected: applying what was committed before"
	case s.Commit > s.Applied+maxLag:
		return fmt.Sprintf("catching up: %d committed entries are not applied yet", s.Commit-s.Applied)
	}
	return ""
}
