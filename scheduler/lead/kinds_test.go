package lead

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// A worker gets only jobs of the kinds that its hello names; a job that nobody
// takes waits and says why.
func TestAWorkerGetsOnlyTheKindsThatItTakes(t *testing.T) {
	c := newCluster(t, quick)
	command := &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"true"}}}}
	boxed := &pb.JobSpec{Kind: &pb.JobSpec_Obuilder{Obuilder: &pb.ObuilderJob{Spec: "(from a)"}}}
	takes := func(name, kind string) *worker {
		h := hello(name, 4)
		h.Kinds = []string{kind}
		return c.connect(h)
	}
	boxes := takes("boxes", "obuilder")
	if worker, _, release := c.leader.Suggest("p", "ci", command); worker != "" {
		t.Errorf("a command job would ride to %q", worker)
	} else {
		release(false)
	}
	waits := c.submit(command)
	first := c.submit(boxed)
	if g := boxes.awaitGrant(); g.Job != uint64(first) {
		t.Fatalf("granted job %d, want %d", g.Job, first)
	}
	if _, why, _, err := c.leader.Explain(waits); err != nil || why != "no connected worker of the pool takes command jobs" {
		t.Errorf("explained as %q, %v", why, err)
	}
	host := takes("host", "command")
	if g := host.awaitGrant(); g.Job != uint64(waits) {
		t.Errorf("granted job %d, want %d", g.Job, waits)
	}
}

// A worker that announces more kinds, or keys, than any needs is refused.
func TestAWorkerAnnouncesSoMuchAndNoMore(t *testing.T) {
	c := newCluster(t, quick)
	for what, c2 := range map[string]struct {
		change func(*pb.WorkerHello)
		says   string
	}{
		"kinds":      {func(h *pb.WorkerHello) { h.Kinds = slices.Repeat([]string{"command"}, 65) }, "65 kinds of job, at most 64"},
		"long kinds": {func(h *pb.WorkerHello) { h.Kinds = []string{strings.Repeat("k", 71)} }, "71 bytes"},
		"keys":       {func(h *pb.WorkerHello) { h.Keys = slices.Repeat([]string{"k"}, 65) }, "65 keys"},
	} {
		h := hello("w", 1)
		c2.change(h)
		if err := c.dial(h, Caller{Remote: "test"}).awaitEnd(); !is(err, fsm.Invalid) || !strings.Contains(err.Error(), c2.says) {
			t.Errorf("too many %s: %v", what, err)
		}
	}
	h := hello("w", 1)
	h.Kinds = []string{"command", "docker"}
	c.connect(h)
	list := c.leader.Workers("p")
	if len(list) != 1 || !slices.Equal(list[0].Kinds, h.Kinds) {
		t.Errorf("listed as %v", list)
	}
}
