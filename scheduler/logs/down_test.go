package logs

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/workerd/spool"
)

// lonely is a log of a cluster of five that only the nodes away have: two that
// hold it, and are down.
func lonely(t *testing.T) (c *cluster, id spool.ID, away []raftnode.NodeID, dirs []string) {
	t.Helper()
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "kept\n")
	end(t, l)
	for _, holder := range c.sealed(id).Holders {
		away = append(away, raftnode.NodeID(holder))
	}
	for _, n := range []raftnode.NodeID{"n1", "n2", "n3"} { // a third copy may be on its way
		if !slices.Contains(away, n) {
			c.kill(c.node(n))
			c.remove(n)
		}
	}
	for _, n := range []raftnode.NodeID{"n4", "n5", "n6"} {
		c.start(n, t.TempDir())
	}
	for _, n := range away {
		dirs = append(dirs, c.node(n).dir)
		c.kill(c.node(n))
	}
	return c, id, away, dirs
}

// The only nodes that have a sealed log are down: its readers hear which, soon,
// and followers that it pauses; it goes on when one is back.
func TestHoldersThatAreDown(t *testing.T) {
	c, id, away, dirs := lonely(t)
	want := []string{string(away[0]), string(away[1]), "had it and do not answer", "weir status"}
	begun := time.Now()
	got, last, err := c.node("n4").read(t.Context(), request(id))
	if err != nil || got != "" || last.GetComplete() {
		t.Fatalf("%q, %v, %v", got, last, err)
	}
	for _, part := range want {
		if !strings.Contains(last.IncompleteWhy, part) {
			t.Errorf("it says %q, want also %q", last.IncompleteWhy, part)
		}
	}
	t.Logf("after %v: %s", time.Since(begun), last.IncompleteWhy)

	x := follow(t.Context(), id, func() []*node { return []*node{c.node("n5")} })
	eventually(t, "a note", func() bool { return strings.Contains(x.message().GetNote(), "do not answer") })
	c.start(away[0], dirs[0])
	if err := <-x.done; err != nil || x.text() != "kept\n" || !x.message().GetComplete() {
		t.Errorf("with %s back: %q, %v, %v", away[0], x.text(), x.message(), err)
	}
}

// Two nodes of three are down, or the third is cut off: another node may know
// better, so the answer is one that makes a client ask it.
func TestHoldersThatAreOutOfReach(t *testing.T) {
	c, id, away, _ := lonely(t)
	c.kill(c.node("n5"))
	c.kill(c.node("n6"))
	_, last, err := c.node("n4").read(t.Context(), request(id))
	if kind(err) != "unavailable" || !strings.Contains(err.Error(), string(away[0])) {
		t.Errorf("%v, %v", last, err)
	}
}

func TestWhatIsSaidOfNodesThatAreDown(t *testing.T) {
	c := newCluster(t, "n1", "n2", "n3")
	r := &reader{Service: c.node("n1").Service, job: 7, attempt: 1}
	for want, log := range map[string]*pb.LogInfo{
		"no node that answers has the log of job 7, attempt 1; n2 had it and does not answer: start it again": {Holders: []string{"n2"}},
		"n2 and n3 had it and do not answer: start one of them again":                                         {Holders: []string{"n2", "n3"}},
		"n2 and n3 may have it and do not answer":                                                             {Holders: []string{"n1"}},
	} {
		if got := r.downWhy(log, []raftnode.NodeID{"n2", "n3"}); !strings.Contains(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
