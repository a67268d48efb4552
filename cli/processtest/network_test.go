package processtest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// TestNetwork is about workers that a network separates from the cluster, at the
// timings of the default profile.
func TestNetwork(t *testing.T) {
	t.Parallel()
	wire := newWire(t)
	w := start(t, local.Config{Host: wire.outer, Profile: "default"})
	w.client("tests")
	t.Run("cut", func(t *testing.T) { testShortCut(w.in(t), wire) })
	t.Run("leader", func(t *testing.T) { testLeaderOutOfReach(w.in(t), wire) })
}

// cutTime is how long a cut must restart nothing.
const cutTime = 5 * time.Second

// All packets of a worker are lost for five seconds. What it runs goes on: a
// build that ends meanwhile is delivered afterwards, one that is longer never
// notices, and whoever follows a log misses and repeats nothing.
func testShortCut(w *world, wire *wire) {
	capFile := w.pool("cut", nil)
	worker := w.startWorker(wire.enter(), "cut", "far", capFile, 4)
	w.until("the worker to be ready", func() bool { return w.workerState("cut", "far") == "ready" })
	ci := w.load(w.client("ci"))
	short, err := w.ledger.submit(w.ctx, ci, "cut", build{name: "short", lines: 100, pause: "2"})
	w.must(err)
	long, err := w.ledger.submit(w.ctx, ci, "cut", build{name: "long", lines: 20_000, pause: "8"})
	w.must(err)
	waiting := w.waiting("cut", "waiting")
	w.until("all builds", func() bool { return w.alive("waiting") && len(w.ledger.ran()) == 2 })
	follower := w.begin(w.adminAt, "logs", "-f", fmt.Sprint(long))
	w.until("the log's first half", func() bool { return follower.out.has("long line 10000\n") })

	begun := time.Now()
	wire.cut()
	w.until("the short build to end behind the cut", func() bool { return w.ledger.ran()[fmt.Sprint(short, " 1 ends")] == 1 })
	w.until("five seconds", func() bool { return time.Since(begun) >= cutTime })
	lost := wire.dropped()
	if j := w.job(short); lost == 0 || j.State != pb.JobState_JOB_STATE_RUNNING {
		w.t.Errorf("%d packets were dropped, and the job that ended behind the cut: %v", lost, j)
	}
	wire.mend()
	mended := time.Now()
	w.settled(short)
	w.t.Logf("the wire was cut for %v (%d packets dropped); the result of a build that ended meanwhile came %v after that",
		mended.Sub(begun).Round(time.Millisecond), lost, time.Since(mended).Round(time.Millisecond))
	w.touch("waiting-1")
	if j := w.settled(waiting); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		w.t.Errorf("the job that waited: %v", j)
	}
	if extra := w.ledger.verify(); extra != 0 {
		w.t.Errorf("%d attempts were repeated", extra)
	}
	if a := follower.wait(); a.code != 0 || a.out != (build{name: "long", lines: 20_000}).log("far") {
		w.t.Errorf("who followed the long build's log: exit code %d, %d bytes: %s", a.code, len(a.out), a.err)
	}
	w.must(worker.Stop())
}

// Only packets from the workers to the leader are lost. The leader has its
// quorum and stays; its workers reach it through a follower, the builds go on,
// and others come.
func testLeaderOutOfReach(w *world, wire *wire) {
	capFile := w.pool("oneway", nil)
	var workers []*local.Process
	names := []string{"east", "west"}
	for _, name := range names {
		workers = append(workers, w.startWorker(wire.enter(), "oneway", name, capFile, 2))
		w.until("worker "+name+" to be ready", func() bool { return w.workerState("oneway", name) == "ready" })
	}
	ci := w.load(w.client("oneway-ci"))
	var jobs []uint64
	for i := range 3 { // the third part of these that must not expire together
		jobs = append(jobs, w.waiting("oneway", fmt.Sprintf("job-%d-", i)))
		w.until("the build", func() bool { return w.alive(fmt.Sprintf("job-%d-", i)) })
	}
	leader, _ := w.leader()
	term := w.status(leader).Term
	_, port, err := net.SplitHostPort(leader.Address)
	w.must(err)

	begun := time.Now()
	wire.cutTo(port)
	for _, name := range names {
		w.until(name+" to be relayed", func() bool {
			by := w.relayedBy("oneway", name)
			return by != "" && by != leader.Name && w.workerState("oneway", name) == "ready"
		})
	}
	w.t.Logf("both workers were relayed %v after the leader was out of their reach", time.Since(begun).Round(time.Millisecond))
	for i := range 3 {
		_, err := w.ledger.submit(w.ctx, ci, "oneway", build{name: fmt.Sprint("later-", i), lines: 2000, pause: "0.5"})
		w.must(err)
		w.touch(fmt.Sprintf("job-%d--1", i))
	}
	if extra := w.ledger.verify(); extra != 0 {
		w.t.Errorf("%d attempts were repeated", extra)
	}
	for _, id := range jobs {
		if j := w.settled(id); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			w.t.Errorf("a job that ran all the while: %v", j)
		}
	}
	w.until("a time to live to pass", func() bool { return time.Since(begun) > 16*time.Second })
	if now, _ := w.leader(); now != leader || w.status(leader).Term != term {
		w.t.Errorf("%s led in term %d, and now %s in term %d", leader.Name, term, now.Name, w.status(now).GetTerm())
	}
	if said := nodeLog(leader); strings.Contains(said, "many workers fell silent") {
		w.t.Error("the leader suspected itself, although its workers were relayed")
	}
	if shown := w.ok(w.adminAt, "worker", "list"); !strings.Contains(shown, "ready via ") {
		w.t.Errorf("worker list does not tell of relays: %s", shown)
	}
	if wire.dropped() == 0 {
		w.t.Error("no packet was dropped")
	}
	wire.mend()
	for _, p := range workers {
		w.must(p.Stop())
	}
}

// relayedBy is the node that passes a connected worker's session on.
func (w *world) relayedBy(pool, name string) string {
	w.t.Helper()
	k, err := w.findWorker(pool, name)
	w.must(err)
	if !k.GetConnected() {
		return "nobody yet"
	}
	return k.RelayedBy
}
