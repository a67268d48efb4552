package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/raftnode"
)

// Nodes that do not vote elect nobody, however many of them answer.
func TestOnlyVotersMakeAMajority(t *testing.T) {
	s := &Survey{Name: "n1"}
	member := func(name string, voter bool) raftnode.Member {
		return raftnode.Member{Peer: raftnode.Peer{Name: name}, Voter: voter}
	}
	three := slices.Clip([]raftnode.Member{member("n1", true), member("n2", true), member("n3", true)})
	learner := []raftnode.Member{member("n4", false), member("n5", false)}
	for name, c := range map[string]struct {
		members  []raftnode.Member
		answered map[string]bool
		want     string
	}{
		"a minority":              {three, nil, "2 of 3 nodes must be up and reach each other, and only 1 answered"},
		"a majority":              {three, map[string]bool{"n2": true}, "Enough nodes are up"},
		"learners make none":      {append(three, learner...), map[string]bool{"n4": true, "n5": true}, "2 of 3 nodes must be up and reach each other, and only 1 answered"},
		"learners raise no bar":   {append(three, learner...), map[string]bool{"n3": true}, "Enough nodes are up"},
		"asked by a learner":      {append(three[1:], member("n1", false)), map[string]bool{"n2": true}, "2 of 2 nodes must be up and reach each other, and only 1 answered"},
		"one voter with learners": {append(three[:1:1], learner...), map[string]bool{"n4": true}, "weir status"},
		"not a member yet":        {nil, nil, "weir status"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := advice(s.voters(c.members, c.answered)); !strings.Contains(got, c.want) {
				t.Errorf("%q lacks %q", got, c.want)
			}
		})
	}
}
