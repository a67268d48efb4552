package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/raftnode"
)

// Nodes that do not vote elect nobody, however many of them answer.
func TestOnlyVotersMakeAMajority(t *testing.T) {
	disk := ""
	s := &Survey{Name: "n1", Disk: func() string { return disk }}
	member := func(name string, voter bool) raftnode.Member {
		return raftnode.Member{Peer: raftnode.Peer{Name: name}, Voter: voter}
	}
	three := slices.Clip([]raftnode.Member{member("n1", true), member("n2", true), member("n3", true)})
	learner := []raftnode.Member{member("n4", false), member("n5", false)}
	for name, c := range map[string]struct {
		members  []raftnode.Member
		answered map[string]nodeState
		want     string
	}{
		"a minority":              {three, nil, "2 of 3 nodes must be up and reach each other, and only 1 answered"},
		"a majority":              {three, map[string]nodeState{"n2": up}, "Enough nodes are up"},
		"learners make none":      {append(three, learner...), map[string]nodeState{"n4": up, "n5": up}, "2 of 3 nodes must be up and reach each other, and only 1 answered"},
		"learners raise no bar":   {append(three, learner...), map[string]nodeState{"n3": up}, "Enough nodes are up"},
		"asked by a learner":      {append(three[1:], member("n1", false)), map[string]nodeState{"n2": up}, "2 of 2 nodes must be up and reach each other, and only 1 answered"},
		"one voter with learners": {append(three[:1:1], learner...), map[string]nodeState{"n4": up}, "weir status"},
		"not a member yet":        {nil, nil, "weir status"},
		"two of three wiped": {three, map[string]nodeState{"n2": emptied, "n3": emptied},
			"2 of 3 nodes must be up with the data that they had, and only 1 answered so. Without a vote, because they are empty: n2, n3. Stop those, restore their data directories"},
		"one wiped, one down": {three, map[string]nodeState{"n2": emptied}, "they are empty: n2. "},
		"one wiped of three":  {three, map[string]nodeState{"n2": emptied, "n3": up}, "Enough nodes are up"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.count(c.members, c.answered).advice(); !strings.Contains(got, c.want) {
				t.Errorf("%q lacks %q", got, c.want)
			}
		})
	}
	disk = "no space left on device"
	full := s.count(three, map[string]nodeState{"n2": ailing, "n3": up}).advice()
	if !strings.Contains(full, "the disks of some fail, as said above: n1, n2. Make room") {
		t.Errorf("with full disks: %q", full)
	}
	if alone := s.count(three, nil).advice(); !strings.Contains(alone, "only 1 answered") {
		t.Errorf("with a full disk, alone: %q", alone)
	}
}
