package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// recording is what a reader of events hears.
type recording struct {
	cluster *Cluster
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu     sync.Mutex
	at     uint64 // everything before this index has been heard
	events []*pb.Event
}

// record follows events from where req says.
func (c *Cluster) record(with capability.Capability, req *pb.WatchEventsRequest, nodes ...*Node) *recording {
	ctx, cancel := context.WithCancel(c.Context())
	r := &recording{cluster: c, cancel: cancel}
	cl := c.Client(with, nodes...).RetryFor(Patience)
	r.done.Go(func() {
		err := cl.Events(ctx, req, func(batch *pb.Events) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events, r.at = append(r.events, batch.Events...), batch.From
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			c.t.Errorf("the stream of events ended: %v", err)
		}
	})
	return r
}

// before waits for all events before an index, ends the recording and returns them.
func (r *recording) before(index uint64) []*pb.Event {
	r.cluster.Wait(fmt.Sprintf("the events before %d", index), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.at >= index
	})
	r.cancel()
	r.done.Wait()
	return slices.DeleteFunc(r.events, func(e *pb.Event) bool { return e.Index >= index })
}

func place(e *pb.Event) string {
	return fmt.Sprintf("%d/%d %s job=%d worker=%s %s", e.Index, e.Position, e.Kind, e.Job, e.Worker, e.Outcome)
}

// A reader of events goes from node to node while leaders die and hears of
// everything once, in the order in which every node has it.
func TestEventsSurviveFailover(t *testing.T) {
	c := Start(t, Options{})
	c.Wait("the feature level", func() bool { return strings.Contains(c.Log(), "every member understands the new feature level") })
	recorded := c.record(c.Admin, &pb.WatchEventsRequest{From: 1})
	ledger := workload(t, c, 200, func() {
		for range 2 {
			leader := c.Leader()
			leader.Crash()
			c.Leader()
			leader.Start()
		}
	})
	end := c.Leader().Server.Store().End().Index
	heard := recorded.before(end)
	ended := map[uint64]int{}
	kinds := map[string]int{}
	for i, e := range heard {
		kinds[e.Kind]++
		if e.Kind == "job-ended" {
			ended[e.Job]++
		}
		if i > 0 && (e.Index < heard[i-1].Index || e.Index == heard[i-1].Index && e.Position <= heard[i-1].Position) {
			t.Fatalf("%s came after %s", place(e), place(heard[i-1]))
		}
	}
	for _, id := range ledger.Jobs() {
		if ended[id] != 1 {
			t.Errorf("job %d ended %d times in the events", id, ended[id])
		}
	}
	if kinds["leader-changed"] < 2 || kinds["worker-connected"] == 0 || kinds["job-started"] < 200 {
		t.Errorf("of each kind: %v", kinds)
	}
	for _, n := range c.Nodes {
		own := c.record(c.Admin, &pb.WatchEventsRequest{From: 1}, n).before(end)
		if !slices.EqualFunc(own, heard, func(a, b *pb.Event) bool { return place(a) == place(b) }) {
			t.Errorf("node %s tells of %d events, and %d were heard", n.Name, len(own), len(heard))
		}
	}

	// Resuming in the middle gives the rest, and nothing twice.
	middle := heard[len(heard)/2]
	rest := c.record(c.Admin, &pb.WatchEventsRequest{From: middle.Index, Skip: middle.Position + 1}, c.Followers()[0]).before(end)
	if want := heard[len(heard)/2+1:]; len(rest) != len(want) || place(rest[0]) != place(want[0]) {
		t.Errorf("resumed at %s: %d events, want %d", place(middle), len(rest), len(want))
	}
	cl := c.Client(c.Admin, c.Leader())
	err := cl.Events(c.Context(), &pb.WatchEventsRequest{From: end + 100_000}, func(*pb.Events) error { return nil })
	if client.Reason(err) != reason.Invalid {
		t.Errorf("from the future: %v", err)
	}
}

// Who may see less sees less.
func TestEventsForOthers(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	c.NewPool("linux", nil)
	c.NewPool("other", nil)
	mine, yours := c.NewClient("mine"), c.NewClient("yours")
	own := c.record(mine, &pb.WatchEventsRequest{From: 1})
	all := c.record(c.Admin, &pb.WatchEventsRequest{From: 1, Pool: "linux", Kinds: []string{"job-queued"}})
	for with, pool := range map[*capability.Capability]string{&mine: "linux", &yours: "other"} {
		if _, err := c.Client(*with).Submit(c.Context(), &pb.SubmitRequest{Pool: pool, Spec: Job("true")}); err != nil {
			t.Fatal(err)
		}
	}
	end := c.Leader().Server.Store().End().Index
	jobs := 0
	for _, e := range own.before(end) {
		if e.Kind == "job-queued" {
			jobs++
		}
		if e.Client == "yours" || e.Worker != "" || strings.HasPrefix(e.Kind, "capability") {
			t.Errorf("client mine heard of %s", place(e))
		}
	}
	if jobs != 1 {
		t.Errorf("client mine heard of %d of its jobs", jobs)
	}
	for _, e := range all.before(end) {
		if e.Kind != "job-queued" || e.Pool != "linux" {
			t.Errorf("not asked for: %s", place(e))
		}
	}
	err := c.Client(c.Admin).Events(c.Context(), &pb.WatchEventsRequest{Kinds: []string{"nonsense"}}, func(*pb.Events) error { return nil })
	if client.Reason(err) != reason.Invalid || !strings.Contains(err.Error(), "job-started") {
		t.Errorf("an unknown kind: %v", err)
	}
}
