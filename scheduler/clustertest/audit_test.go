package clustertest

import (
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// The audit has changes of the state and of the members, made through a follower,
// with who made them and from where; it outlives the nodes' processes.
func TestAuditOfChanges(t *testing.T) {
	c := Start(t, Options{})
	c.Wait("the feature level", func() bool { return strings.Contains(c.Log(), "every member understands the new feature level") })
	c.NewPool("linux", nil)
	c.NewClient("ci")
	operator, id := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_OPERATOR, Note: "bob"})
	cl := c.Client(operator, c.Followers()[0])
	ctx := c.Context()
	_, err := cl.Admin().PausePool(ctx, &pb.PausePoolRequest{Name: "linux", Reason: "moving"})
	c.must(err)
	_, err = cl.Admin().PauseWorkers(ctx, &pb.PauseWorkersRequest{Pool: "linux", Names: []string{"w1"}, Create: true})
	c.must(err)
	if _, err := cl.Admin().PausePool(ctx, &pb.PausePoolRequest{Name: "nowhere"}); client.Reason(err) != reason.NotFound {
		t.Errorf("a pool that is not there: %v", err)
	}
	_, err = cl.Members().TransferLeadership(ctx, &pb.TransferLeadershipRequest{To: c.Followers()[0].Name})
	c.must(err)
	for _, n := range c.Nodes {
		n.Stop()
	}
	for _, n := range c.Nodes {
		n.Start()
	}
	list, err := c.Client(c.Admin).RetryFor(Patience).Admin().ListChanges(ctx, &pb.ListChangesRequest{})
	c.must(err)
	want := []string{"pool.create", "client.add", "capability.create", "pool.pause", "worker.pause", "leadership.transfer"}
	for i, change := range list.Changes {
		if change.Number != list.Changes[0].Number+uint64(i) || change.From == "" || change.AtMs == 0 {
			t.Errorf("change %v", change)
		}
		if len(want) > 0 && change.Action == want[0] {
			want = want[1:]
		}
		if change.Action == "pool.pause" && (change.Who != id || change.KnownAs != "bob" || change.Kind != pb.CapabilityKind_CAPABILITY_OPERATOR || change.Detail != "moving") {
			t.Errorf("the pause: %v", change)
		}
		if change.Target == "nowhere" {
			t.Errorf("what was refused is there: %v", change)
		}
	}
	if len(want) > 0 {
		t.Errorf("%v are not there, or not in order: %v", want, list.Changes)
	}
	page, err := c.Client(c.Admin).Admin().ListChanges(ctx, &pb.ListChangesRequest{Limit: 2})
	c.must(err)
	next, err := c.Client(c.Admin).Admin().ListChanges(ctx, &pb.ListChangesRequest{Limit: 2, After: page.NextAfter})
	c.must(err)
	if len(page.Changes) != 2 || page.NextAfter == 0 || next.Changes[0].Number != page.Changes[1].Number+1 {
		t.Errorf("pages: %v, then %v", page, next)
	}
	limited, _ := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_READ, Pools: []string{"linux"}})
	list, err = c.Client(limited).Admin().ListChanges(ctx, &pb.ListChangesRequest{})
	c.must(err)
	for _, change := range list.Changes {
		if change.Pool != "linux" {
			t.Errorf("a capability for one pool sees %v", change)
		}
	}
}
