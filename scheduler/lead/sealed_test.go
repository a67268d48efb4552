package lead

import (
	"testing"

	"github.com/weirbuild/weir/proto/pb"
)

// A job with sealed secrets goes to a worker that holds the key, with its box; while
// there is none it waits and says so.
func TestASealedJobGoesToAWorkerThatHoldsTheKey(t *testing.T) {
	c := newCluster(t, quick)
	sealed := &pb.JobSpec{
		Kind:   &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"true"}}},
		Sealed: &pb.SealedSecrets{Key: "k2", Ids: []string{"token"}},
	}
	holds := func(name string, keys ...string) *worker {
		h := hello(name, 4)
		h.Keys = keys
		return c.connect(h)
	}
	other := holds("other", "k1")
	if worker, _, release := c.leader.Suggest("p", "ci", sealed); worker != "" {
		t.Errorf("a sealed job would ride to %q", worker)
	} else {
		release(false)
	}
	command := submit(sealed, "")
	command.GetSubmitJob().Sealed = []byte("box")
	waits := c.do(command).Job
	plain := c.submit(&pb.JobSpec{})
	if g := other.awaitGrant(); g.Job != uint64(plain) || g.Sealed != nil {
		t.Fatalf("granted %v, want job %d", g, plain)
	}
	if _, why, _, err := c.leader.Explain(waits); err != nil || why != "no connected worker of the pool holds key k2, to which its secrets are sealed" {
		t.Errorf("explained as %q, %v", why, err)
	}
	if g := holds("holder", "k1", "k2").awaitGrant(); g.Job != uint64(waits) || string(g.Sealed) != "box" {
		t.Errorf("granted %v, want job %d and its box", g, waits)
	}
}
