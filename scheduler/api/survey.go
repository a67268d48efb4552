package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
)

// Survey explains why there is no leader: it asks every member for its state.
// Callers that wait at the same time share one survey.
type Survey struct {
	Name  string        // this node's
	Self  func() string // its state in a few words
	Disk  func() string // at what its disk fails; empty: nothing
	Peers Peers

	mu   sync.Mutex
	text string
	at   time.Time
}

// NoLeader returns the refusal of a call for which no leader was found: which
// node answered, what each of the others says, and what to do.
func (s *Survey) NoLeader() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > time.Second {
		s.text = s.take()
		s.at = time.Now()
	}
	return &fsm.Refusal{Kind: reason.NoLeader, Message: s.text}
}

func (s *Survey) take() string {
	members := s.Peers.Members()
	others := make([]raftnode.Member, 0, len(members))
	for _, m := range members {
		if m.Name != s.Name {
			others = append(others, m)
		}
	}
	said, states := s.ask(others)
	var b strings.Builder
	fmt.Fprintf(&b, "no leader, nothing was changed: node %s answers (%s)", s.Name, s.Self())
	for _, line := range said {
		b.WriteString("; " + line)
	}
	b.WriteString(". " + s.count(members, states).advice())
	return b.String()
}

// nodeState is what a survey has found of a member.
type nodeState int

const (
	silent nodeState = iota
	up
	ailing  // it answers, and its disk fails
	emptied // it answers under the member's name, but its data, and so its vote, is gone
)

// electorate is the members that elect a leader, as far as they can.
type electorate struct {
	voters, up int
	emptied    []string // names
	ailing     []string // likewise
}

func (s *Survey) count(members []raftnode.Member, states map[string]nodeState) (e electorate) {
	for _, m := range members {
		if !m.Voter {
			continue
		}
		e.voters++
		state := states[m.Name]
		if m.Name == s.Name {
			state = up
			if s.Disk() != "" {
				state = ailing
			}
		}
		switch state {
		case up:
			e.up++
		case ailing:
			e.up++
			e.ailing = append(e.ailing, m.Name)
		case emptied:
			e.emptied = append(e.emptied, m.Name)
		}
	}
	return e
}

func (e electorate) advice() string {
	need := e.voters/2 + 1
	switch {
	case e.voters <= 1:
		return "See 'weir status' for what this node waits for"
	case e.up < need && len(e.emptied) > 0:
		return fmt.Sprintf("%d of %d nodes must be up with the data that they had, and only %d answered so. Without a vote, because they are empty: %s. "+
			"Stop those, restore their data directories and start them again, or start others that still have theirs; reads with --stale work meanwhile",
			need, e.voters, e.up, strings.Join(e.emptied, ", "))
	case e.up < need:
		return fmt.Sprintf("%d of %d nodes must be up and reach each other, and only %d answered: start or reconnect another; reads with --stale work meanwhile", need, e.voters, e.up)
	case len(e.ailing) > 0:
		return fmt.Sprintf("Enough nodes are up, but the disks of some fail, as said above: %s. Make room on them, or repair them: the cluster then goes on by itself; reads with --stale work meanwhile",
			strings.Join(e.ailing, ", "))
	default:
		return "Enough nodes are up: they elect a leader as soon as they reach each other; try again in a moment"
	}
}

// ask returns a line for each node, and the state of each by name.
func (s *Survey) ask(others []raftnode.Member) (lines []string, states map[string]nodeState) {
	ctx, cancel := context.WithTimeout(context.Background(), surveyWait)
	defer cancel()
	lines = make([]string, len(others))
	found := make([]nodeState, len(others))
	var wg sync.WaitGroup
	for i, m := range others {
		wg.Go(func() { lines[i], found[i] = s.askOne(ctx, m) })
	}
	wg.Wait()
	states = map[string]nodeState{}
	for i, state := range found {
		states[others[i].Name] = state
	}
	return lines, states
}

func (s *Survey) askOne(ctx context.Context, m raftnode.Member) (string, nodeState) {
	who := fmt.Sprintf("node %s (%s)", m.Name, m.Address)
	conn, err := s.Peers.Conn(m.Address)
	if err != nil {
		return who + ": " + err.Error(), silent
	}
	reply, err := pb.NewMembershipClient(conn).Status(ctx, &pb.StatusRequest{})
	switch {
	case err != nil:
		return who + " does not answer: " + brief(err), silent
	case reply.NodeId != string(m.ID):
		return who + " answers as a new node: it is empty, its data is gone", emptied
	}
	state := up
	if reply.Disk != "" {
		state = ailing
	}
	return who + " answers: " + describeStatus(reply), state
}

func describeStatus(n *pb.NodeStatus) string {
	text := n.State
	if n.LeaderName != "" {
		text += ", follows " + n.LeaderName
	}
	if n.Why != "" {
		text += ", " + n.Why
	}
	return text
}

// brief shortens the error of a call to what an operator can use.
func brief(err error) string {
	if text := mtls.Explain(err); text != "" {
		return text
	}
	s := status.Convert(err)
	text := s.Message()
	if _, after, ok := strings.Cut(text, "desc = "); ok {
		text = strings.Trim(after, `"`)
	}
	if strings.Contains(text, "context deadline exceeded") {
		return "no answer in time"
	}
	return text
}
