package lead

import (
	"testing"

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
