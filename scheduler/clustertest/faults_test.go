package clustertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler"
)

// workload submits jobs from some goroutines, each repeated until acknowledged,
// while during does its worst; then everything is verified.
func workload(t *testing.T, c *Cluster, jobs int, during func()) *Ledger {
	t.Helper()
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 4, builds)
	c.StartWorker(worker, "p", "w2", 4, builds)
	cap := c.NewClient("ci")
	ledger := c.NewLedger(builds)
	ctx := c.Context()
	const callers = 4
	g, ctx := errgroup.WithContext(ctx)
	half := make(chan struct{})
	for i := range callers {
		cl := c.Client(cap)
		g.Go(func() error {
			for j := range jobs / callers {
				id := fmt.Sprintf("%d-%d", i, j)
				if _, err := ledger.Submit(ctx, cl, submit("p", id, "ok", fmt.Sprint(50*j))); err != nil {
					return fmt.Errorf("submit %s: %w", id, err)
				}
				if i == 0 && j == jobs/callers/4 {
					close(half)
				}
			}
			return nil
		})
	}
	<-half
	during()
	c.must(g.Wait())
	ledger.Verify(c.Admin)
	return ledger
}

// onlyAttempts fails unless every job took exactly one attempt.
func (l *Ledger) onlyAttempts() {
	l.cluster.Leader().Server.Store().View(func(st *fsm.State) {
		for _, id := range l.Jobs() {
			if job, err := st.Job(fsm.JobID(id)); err != nil || len(job.Attempts) != 1 {
				l.cluster.t.Errorf("job %d took %d attempts (%v)", id, len(job.Attempts), err)
			}
		}
	})
}

// onEachStore runs a test on clusters with either store of the Raft log.
func onEachStore(t *testing.T, test func(*testing.T, *Cluster)) {
	for _, store := range []string{raftnode.Bolt, raftnode.WAL} {
		t.Run(store, func(t *testing.T) {
			c := Start(t, Options{Change: func(c *scheduler.Config) { c.LogStore = store }})
			if !strings.Contains(c.Log(), "store="+store) {
				t.Fatalf("the nodes do not use %s", store)
			}
			test(t, c)
		})
	}
}

func TestLeaderCrashes(t *testing.T) {
	onEachStore(t, func(t *testing.T, c *Cluster) {
		workload(t, c, 400, func() {
			for range 2 {
				leader := c.Leader()
				leader.Crash()
				c.Leader()
				leader.Start()
			}
		}).onlyAttempts()
	})
}

func TestLeaderStops(t *testing.T) {
	c := Start(t, Options{})
	workload(t, c, 400, func() {
		leader := c.Leader()
		begun := time.Now()
		go leader.cancel()
		c.Wait("another leader", func() bool {
			for _, n := range c.Nodes {
				if n != leader && n.Leads() {
					return true
				}
			}
			return false
		})
		t.Logf("another node led %v after the leader was told to stop", time.Since(begun).Round(time.Millisecond))
		leader.Stop()
		leader.Start()
	}).onlyAttempts()
}

// The leader is cut off from the other nodes, while clients and workers still
// reach it: it must not answer for the cluster any more.
func TestLeaderIsCutOff(t *testing.T) {
	onEachStore(t, func(t *testing.T, c *Cluster) {
		workload(t, c, 400, func() {
			old := c.Leader()
			var rest []string
			for _, n := range c.Followers() {
				rest = append(rest, n.Name)
			}
			c.Net.Split([]string{old.Name}, rest)
			c.Wait("the old leader to give up", func() bool { return !old.Leads() })
			c.Leader()
			c.Net.Heal()
		}).onlyAttempts()
	})
}

func TestWipedNodes(t *testing.T) {
	c := Start(t, Options{})
	ledger := workload(t, c, 100, func() {})
	first := string(c.Nodes[0].Server.Store().Node().ClusterID())

	one := c.Followers()[0]
	one.Stop()
	one.Wipe()
	one.Start()
	c.Wait("the wiped node to vote again", func() bool { return voters(c) == 3 && one.Server.Store().Node().Status().Ready })
	ledger.Verify(c.Admin)

	// With two of three wiped there is no quorum, and no second cluster.
	survivor, lost := c.Leader(), c.Followers()
	for _, n := range lost {
		n.Stop()
		n.Wipe()
	}
	for _, n := range lost {
		n.Start()
	}
	c.Wait("the survivor to give up", func() bool { return !survivor.Leads() })
	for _, n := range lost {
		c.Wait(n.Name+" to say what it waits for", func() bool {
			return strings.Contains(n.Server.Store().Node().Status().Why, survivor.Address+" says \"no leader")
		})
		if id := string(n.Server.Store().Node().ClusterID()); id != "" && id != first {
			t.Errorf("the wiped node %s is in cluster %s, not %s", n.Name, id, first)
		}
		if n.Leads() || survivor.Leads() {
			t.Errorf("one node of three leads")
		}
		// It cannot tell who asks, and says why.
		_, err := pb.NewMembershipClient(rawConn(t, c, c.Admin, n)).Status(bearer(c.Context(), c.Admin), &pb.StatusRequest{})
		for _, want := range []string{"node " + n.Name + " is empty", "which has no leader", "restore the data directories of those that are empty"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s says %v, want %q", n.Name, err, want)
			}
		}
	}
	_, err := rawJobs(t, c, c.Admin, survivor).ListJobs(bearer(c.Context(), c.Admin), &pb.ListJobsRequest{})
	if client.Reason(err) != reason.NoLeader {
		t.Fatalf("without a quorum: %v", err)
	}
	for _, want := range []string{"2 of 3 nodes must be up with the data that they had", "they are empty: ", lost[0].Name, lost[1].Name, "restore their data directories"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	t.Logf("the survivor says: %v", err)
}

func voters(c *Cluster) int { return c.Leader().Server.Store().Node().Status().Voters }

// Without a quorum every call is answered within five seconds, with what is
// known and what to do; stale reads work.
func TestLostQuorum(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", nil)
	cap := c.NewClient("ci")
	ctx := c.Context()
	made, err := c.Client(cap).Submit(ctx, submit("p", "k1", "ok", "1"))
	c.must(err)
	last := c.Followers()[0]
	c.Wait("the follower to have the job", func() bool {
		_, err := c.Client(cap, last).Jobs().GetJob(ctx, &pb.GetJobRequest{Id: made.Job, Stale: true})
		return err == nil
	})
	var down []string
	for _, n := range c.Nodes {
		if n != last {
			down = append(down, n.Name)
			n.Crash()
		}
	}
	conn := c.Client(cap, last).RetryFor(4 * time.Second)
	admin := c.Client(c.Admin, last).RetryFor(4 * time.Second)
	for name, call := range map[string]func(context.Context) error{
		"submit": func(ctx context.Context) error { _, err := conn.Submit(ctx, submit("p", "k2", "ok", "1")); return err },
		"get": func(ctx context.Context) error {
			_, err := conn.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: made.Job})
			return err
		},
		"list": func(ctx context.Context) error {
			_, err := conn.Jobs().ListJobs(ctx, &pb.ListJobsRequest{})
			return err
		},
		"pool": func(ctx context.Context) error {
			_, err := admin.Admin().CreatePool(ctx, &pb.CreatePoolRequest{Name: "q"})
			return err
		},
		"members": func(ctx context.Context) error {
			_, err := admin.Members().ListMembers(ctx, &pb.ListMembersRequest{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			err := call(ctx)
			if took := time.Since(begun); took > 5500*time.Millisecond {
				t.Errorf("the answer took %v", took)
			}
			if err == nil {
				t.Fatal("it succeeded")
			}
			t.Logf("%v", err)
		})
	}
	t.Run("the node's own answer", func(t *testing.T) {
		t.Parallel()
		_, err := rawJobs(t, c, cap, last).GetJob(bearer(ctx, cap), &pb.GetJobRequest{Id: made.Job})
		if client.Reason(err) != reason.NoLeader {
			t.Fatalf("have %v", err)
		}
		for _, want := range append(down, last.Name, "does not answer", "2 of 3 nodes must be up", "--stale") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
	})
	t.Run("stale", func(t *testing.T) {
		job, err := conn.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: made.Job, Stale: true})
		if err != nil || job.Id != made.Job {
			t.Errorf("%v, %v", job, err)
		}
	})
}

// Workers cannot reach the leader, only followers: their sessions are relayed
// and no job restarts.
func TestWorkersReachOnlyFollowers(t *testing.T) {
	c := Start(t, Options{})
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 2, builds)
	cap := c.NewClient("ci")
	ledger := c.NewLedger(builds)
	ctx := c.Context()
	job, err := ledger.Submit(ctx, c.Client(cap), submit("p", "k1", "hold", "gate"))
	c.must(err)
	c.Wait("the job to run", func() bool { return len(builds.Started()) == 1 })

	leader, followers := c.Leader(), c.Followers()
	c.Net.Cut(Outside, leader.Name) // one way only
	relayed := func() string {
		reply, err := c.Client(c.Admin, followers...).Admin().ListWorkers(ctx, &pb.ListWorkersRequest{Pool: "p"})
		if err != nil || len(reply.Workers) != 1 || !reply.Workers[0].Connected {
			return ""
		}
		return reply.Workers[0].RelayedBy
	}
	c.Wait("the session to be relayed", func() bool { return relayed() != "" })
	if by := relayed(); by != followers[0].Name && by != followers[1].Name {
		t.Errorf("relayed by %q", by)
	}
	other, err := ledger.Submit(ctx, c.Client(cap, followers...), submit("p", "k2", "ok", "100000"))
	c.must(err)
	if _, err := settled(ctx, c.Client(cap, followers...), other); err != nil {
		t.Fatal(err)
	}
	builds.Release("gate")
	if _, err := settled(ctx, c.Client(cap, followers...), job); err != nil {
		t.Fatal(err)
	}
	c.Net.Heal()
	ledger.Verify(c.Admin)
	ledger.onlyAttempts()
}
