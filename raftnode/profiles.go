package raftnode

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
)

// timings are what of a node's profile the others must share. A nil one is that
// of a release which did not tell.
type timings struct {
	Profile     string `json:"profile"`
	HeartbeatMS int64  `json:"heartbeat_ms"`
	ElectionMS  int64  `json:"election_ms"`
	LeaseMS     int64  `json:"lease_ms"`
}

func (p Profile) timings() *timings {
	return &timings{p.Name, p.Heartbeat.Milliseconds(), p.Election.Milliseconds(), p.Lease.Milliseconds()}
}

func (t *timings) proto() *pb.Timings {
	return &pb.Timings{Profile: t.Profile, HeartbeatMs: t.HeartbeatMS, ElectionMs: t.ElectionMS, LeaseMs: t.LeaseMS}
}

// timingsOf is nil when the other node did not tell.
func timingsOf(t *pb.Timings) *timings {
	if t == nil {
		return nil
	}
	return &timings{t.Profile, t.HeartbeatMs, t.ElectionMs, t.LeaseMs}
}

// differ says whether two nodes are not equally patient. What is not known does
// not differ.
func (t *timings) differ(other *timings) bool {
	return t != nil && other != nil &&
		(t.HeartbeatMS != other.HeartbeatMS || t.ElectionMS != other.ElectionMS || t.LeaseMS != other.LeaseMS)
}

func (t *timings) String() string {
	return fmt.Sprintf("%s (%d/%d/%d ms)", t.Profile, t.HeartbeatMS, t.ElectionMS, t.LeaseMS)
}

// oneProfile is the remedy for all that follows.
const oneProfile = "start all with one --profile"

// profiles knows with which timings the other nodes run: each says so whenever
// a connection is opened, and a node that has restarted opens new ones.
type profiles struct {
	own *timings
	log hclog.Logger

	mu   sync.Mutex
	seen map[NodeID]*timings
}

func newProfiles(own Profile, log hclog.Logger) *profiles {
	return &profiles{own: own.timings(), log: log, seen: map[NodeID]*timings{}}
}

// note takes in what a node of this cluster has said of itself.
func (p *profiles) note(id NodeID, name string, says *timings) {
	p.mu.Lock()
	before := p.seen[id]
	p.seen[id] = says
	p.mu.Unlock()
	switch was, is := p.own.differ(before), p.own.differ(says); {
	case is && (!was || before.differ(says)):
		p.log.Warn("a node runs another profile than this one: "+oneProfile, "node", name, "profile", says, "own", p.own)
	case was && !is:
		p.log.Info("a node runs this node's profile again", "node", name, "profile", says)
	}
}

// odd lists the members that run with other timings than this node: on the leader
// all, elsewhere the leader alone, since followers seldom speak to each other and
// what they know of each other grows old.
func (p *profiles) odd(s Status) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range s.Members {
		if says := p.seen[m.ID]; p.own.differ(says) && (m.Leader || s.Leader.ID == s.Self.ID) {
			found = append(found, fmt.Sprintf("node %s runs profile %s", m.Name, says))
		}
	}
	slices.Sort(found)
	return found
}

// warning says which members run with other timings; empty: none is known to.
func (p *profiles) warning(s Status) string {
	odd := p.odd(s)
	if len(odd) == 0 {
		return ""
	}
	return fmt.Sprintf("%s, this one %s: %s", strings.Join(odd, ", "), p.own, oneProfile)
}

// mayJoin refuses a node that is no member yet and runs with other timings than
// this leader. A member may restart with others, so that they can be changed on
// one node after the other.
func (n *Node) mayJoin(id NodeID, name string, says *timings) error {
	own := n.profiles.own
	if !own.differ(says) || slices.ContainsFunc(n.Members(), func(m Member) bool { return m.ID == id }) {
		return nil
	}
	return fmt.Errorf("%w: node %s, the leader, runs profile %s, node %s would join with %s: %s", ErrRefused, n.self.Name, own, name, says, oneProfile)
}
