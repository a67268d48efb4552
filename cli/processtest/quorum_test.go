package processtest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// answerWithin is the bound on any command without a quorum, and what a crowded
// machine may add to it.
const (
	answerWithin = 5 * time.Second
	crowd        = 5 * time.Second
)

// TestLostQuorum stops two nodes of three. Every command says so in time, stale
// reads work, and a submit rides it out.
func TestLostQuorum(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	capFile := w.pool("p", nil)
	ci := w.client("ci")
	w.worker("p", "w1", capFile, 2)
	id := strings.TrimSpace(w.ok(ci, "submit", "--pool", "p", "--detach", "--", "echo", "hello"))
	_, err := w.readLog(w.admin, 1, 1)
	w.must(err)
	left := w.cluster.Nodes[2]
	w.until("the last node to know all", func() bool {
		j, err := w.only(left).Jobs().GetJob(w.ctx, &pb.GetJobRequest{Id: 1, Stale: true})
		return err == nil && j.State == pb.JobState_JOB_STATE_SETTLED && j.Attempts[0].Log != nil
	})
	down := w.cluster.Nodes[:2]
	for _, n := range down {
		w.kill(n)
	}

	w.everyCommandAnswers(left, ci, id)
	w.staleReadsAnswer(ci, id)
	w.submitRidesItOut(ci, down[0])
	w.revive(down[1])
}

// everyCommandAnswers runs every command that needs a quorum, some at a time.
func (w *world) everyCommandAnswers(left *local.Node, ci, id string) {
	w.t.Helper()
	worst := make(chan time.Duration, 64)
	check := func(capFile string, args ...string) func() error {
		return func() error {
			a := w.begin(capFile, args...).wait()
			worst <- a.took
			what := strings.Join(args, " ")
			if a.took > answerWithin+crowd {
				w.t.Errorf("weir %s took %v", what, a.took)
			}
			if a.code != 3 {
				w.t.Errorf("weir %s: exit code %d: %s", what, a.code, a.err)
			}
			for _, n := range w.cluster.Nodes {
				if !strings.Contains(a.err, n.Address) {
					w.t.Errorf("weir %s does not tell of %s: %s", what, n.Address, a.err)
				}
			}
			for _, part := range []string{"node " + left.Name + " is ", "connection refused", "A majority of the nodes must run", "--stale"} {
				if !strings.Contains(a.err, part) {
					w.t.Errorf("weir %s does not say %q: %s", what, part, a.err)
				}
			}
			return nil
		}
	}
	var group errgroup.Group
	group.SetLimit(6)
	for _, args := range [][]string{
		{"jobs"}, {"job", "show", id}, {"job", "explain", id}, {"job", "cancel", id},
		{"submit", "--pool", "p", "--retry-for", "3s", "--", "true"},
		{"submit", "--pool", "p", "--retry-for", "3s", "--detach", "--", "true"},
	} {
		group.Go(check(ci, args...))
	}
	for _, args := range [][]string{
		{"raft", "list"}, {"raft", "transfer"}, {"raft", "remove", "n1"}, {"pool", "list"}, {"pool", "show", "p"},
		{"pool", "create", "q"}, {"pool", "set", "p", "--attempts", "2"}, {"pool", "delete", "p"}, {"client", "list"},
		{"client", "add", "x"}, {"client", "remove", "ci"}, {"cap", "list"}, {"cap", "create", "read"}, {"cap", "revoke", "cap-2"},
		{"worker", "list"}, {"worker", "forget", "p", "w1"},
	} {
		group.Go(check(w.adminAt, args...))
	}
	w.must(group.Wait())
	close(worst)
	took := []time.Duration{0}
	for d := range worst {
		took = append(took, d)
	}
	w.t.Logf("without a quorum %d commands answered within %v, six at a time", len(took)-1, slices.Max(took).Round(time.Millisecond))
}

// staleReadsAnswer runs every command with --stale, and those that need none.
func (w *world) staleReadsAnswer(ci, id string) {
	w.t.Helper()
	for _, args := range [][]string{{"jobs"}, {"job", "show", id}} {
		if out := w.ok(ci, append(args, "--stale")...); !strings.Contains(out, "succeeded") {
			w.t.Errorf("weir %s --stale: %s", strings.Join(args, " "), out)
		}
	}
	for args, want := range map[string]string{
		"pool list": "p", "pool show p": "0 of 1", "worker list": "w1", "client list": "ci", "cap list": "admin", "raft list": "voter",
	} {
		if out := w.ok(w.adminAt, append(strings.Fields(args), "--stale")...); !strings.Contains(out, want) {
			w.t.Errorf("weir %s --stale: %s", args, out)
		}
	}
	if out := w.ok(w.adminAt, "status"); strings.Count(out, "connect") < 2 {
		w.t.Errorf("weir status: %s", out)
	}
	if out := w.ok(ci, "logs", id); !strings.Contains(out, "hello\n") {
		w.t.Errorf("weir logs of a complete log: %q", out)
	}
}

// submitRidesItOut submits twice with one key while there is no quorum; one node
// comes back, and both find the same job.
func (w *world) submitRidesItOut(ci string, back *local.Node) {
	w.t.Helper()
	args := []string{"submit", "--pool", "p", "--retry-for", "2m", "--request-key", "step-7", "--detach", "-o", "json", "--", "echo", "once"}
	first, second := w.begin(ci, args...), w.begin(ci, args...)
	for _, c := range []*command{first, second} {
		w.until("the submit to say that it waits", func() bool { return c.err.has("trying again") || c.err.has("no leader") })
	}
	w.revive(back)
	var jobs []string
	repeats := 0
	for _, a := range []answer{first.wait(), second.wait(), w.weir(ci, args...)} {
		var reply struct {
			Job    string
			Repeat bool
		}
		if err := json.Unmarshal([]byte(a.out), &reply); err != nil || a.code != 0 {
			w.t.Fatalf("a submit that rode it out: exit code %d, %v: %s%s", a.code, err, a.out, a.err)
		}
		jobs = append(jobs, reply.Job)
		if reply.Repeat {
			repeats++
		}
	}
	if len(slices.Compact(jobs)) != 1 || repeats != 2 {
		w.t.Errorf("three submits with one key: jobs %v, %d of them found again", jobs, repeats)
	}
	if out := w.ok(ci, "submit", "--pool", "p", "--request-key", "step-7", "--", "echo", "once"); !strings.Contains(out, "once\n") {
		w.t.Errorf("a fourth submit with the key: %q", out)
	}
}

// TestWipedNodes empties one node of three, which comes back as a new one, and
// then two: those wait, say for what, and never make a second cluster.
func TestWipedNodes(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	capFile := w.pool("p", nil)
	w.worker("p", "w1", capFile, 4)
	cl := w.load(w.client("ci"))
	for i := range 5 {
		_, err := w.ledger.submit(w.ctx, cl, "p", build{name: fmt.Sprint("kept-", i), lines: 10, pause: "0.01"})
		w.must(err)
	}
	w.ledger.verify()

	_, followers := w.leader()
	one := followers[0]
	old := w.member(one.Name)
	w.wipe(one)
	w.must(w.cluster.StartNode(slices.Index(w.cluster.Nodes, one)))
	w.until("the wiped node to vote under a new id", func() bool {
		m := w.member(one.Name)
		return m.GetSuffrage() == "voter" && m.NodeId != old.NodeId && w.status(one).GetReady()
	})
	if l, _ := w.leader(); !strings.Contains(nodeLog(l), "AddNonvoter") {
		t.Error("the wiped node was not taken in without a vote first")
	}
	w.until("three voters", func() bool { return w.voters() == 3 })
	w.ledger.verify() // every node has every log again

	survivor, lost := w.leader()
	id := w.clusterID()
	for _, n := range lost {
		w.wipe(n)
	}
	for _, n := range lost {
		w.must(w.cluster.StartNode(slices.Index(w.cluster.Nodes, n)))
	}
	for _, n := range lost {
		w.until(n.Name+" to say what it waits for", func() bool {
			return strings.Contains(nodeLog(n), "asking to join the cluster") && strings.Contains(nodeLog(n), survivor.Address)
		})
	}
	// It stays like this, however often the survivor stands for election; the empty
	// nodes ask to join more often than that.
	for round := range 3 {
		w.staysLost(survivor, lost, id)
		campaigns := func() int { return strings.Count(nodeLog(survivor), "entering candidate state") }
		before := campaigns()
		w.until(fmt.Sprintf("%s to stand for election, round %d", survivor.Name, round), func() bool { return campaigns() >= before+5 })
	}
	w.staysLost(survivor, lost, id)
}

// staysLost checks that a node whose two peers were wiped says so, makes no second
// cluster with them, and still knows what it knew.
func (w *world) staysLost(survivor *local.Node, lost []*local.Node, id string) {
	w.t.Helper()
	a := w.weir(w.adminAt, "jobs")
	w.refused(a, 3, "node "+survivor.Name+" is ", "node "+lost[0].Name+" is empty", "node "+lost[1].Name+" is empty")
	w.t.Logf("weir jobs: %s", a.err)
	for _, r := range w.admin.Survey(w.ctx) {
		if s := r.Status; s.GetState() == "leader" || s.GetClusterId() != "" && s.ClusterId != id {
			w.t.Errorf("%s is %s in cluster %q", r.Address, s.State, s.ClusterId)
		}
	}
	if out := w.ok(w.through(w.adminAt, survivor), "jobs", "--stale"); strings.Count(out, "succeeded") != 5 {
		w.t.Errorf("what the survivor knows: %s", out)
	}
}

func (w *world) wipe(n *local.Node) {
	w.t.Helper()
	w.kill(n)
	w.must(os.RemoveAll(n.DataDir()))
	w.must(os.Truncate(n.Dir+"/log", 0))
}

func nodeLog(n *local.Node) string {
	text, _ := os.ReadFile(n.Dir + "/log")
	return string(text)
}

func (w *world) members() *pb.ListMembersReply {
	list, err := w.admin.Members().ListMembers(w.ctx, &pb.ListMembersRequest{})
	w.must(err)
	return list
}

// member is the newest member of a name.
func (w *world) member(name string) (found *pb.Member) {
	for _, m := range w.members().Members {
		if m.Name == name {
			found = m
		}
	}
	return found
}

func (w *world) voters() (n int) {
	for _, m := range w.members().Members {
		if m.Suffrage == "voter" {
			n++
		}
	}
	return n
}

func (w *world) clusterID() string { return w.members().ClusterId }
