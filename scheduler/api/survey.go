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
	said, up := s.ask(others)
	var b strings.Builder
	fmt.Fprintf(&b, "no leader, nothing was changed: node %s answers (%s)", s.Name, s.Self())
	for _, line := range said {
		b.WriteString("; " + line)
	}
	b.WriteString(". " + advice(s.voters(members, up)))
	return b.String()
}

// voters counts the members that elect a leader, and those of them that are up:
// this node, and who answered.
func (s *Survey) voters(members []raftnode.Member, answered map[string]bool) (all, up int) {
	for _, m := range members {
		if !m.Voter {
			continue
		}
		all++
		if m.Name == s.Name || answered[m.Name] {
			up++
		}
	}
	return all, up
}

func advice(voters, up int) string {
	need := voters/2 + 1
	switch {
	case voters <= 1:
		return "See 'weir status' for what this node waits for"
	case up < need:
		return fmt.Sprintf("%d of %d nodes must be up and reach each other, and only %d answered: start or reconnect another; reads with --stale work meanwhile", need, voters, up)
	default:
		return "Enough nodes are up: they elect a leader as soon as they reach each other; try again in a moment"
	}
}

// ask returns a line for each node, and the names of those that answered.
func (s *Survey) ask(others []raftnode.Member) (lines []string, answered map[string]bool) {
	ctx, cancel := context.WithTimeout(context.Background(), surveyWait)
	defer cancel()
	lines = make([]string, len(others))
	oks := make([]bool, len(others))
	var wg sync.WaitGroup
	for i, m := range others {
		wg.Go(func() { lines[i], oks[i] = s.askOne(ctx, m) })
	}
	wg.Wait()
	answered = map[string]bool{}
	for i, ok := range oks {
		answered[others[i].Name] = ok
	}
	return lines, answered
}

func (s *Survey) askOne(ctx context.Context, m raftnode.Member) (string, bool) {
	who := fmt.Sprintf("node %s (%s)", m.Name, m.Address)
	conn, err := s.Peers.Conn(m.Address)
	if err != nil {
		return who + ": " + err.Error(), false
	}
	reply, err := pb.NewMembershipClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return who + " does not answer: " + brief(err), false
	}
	return who + " answers: " + describeStatus(reply), true
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
