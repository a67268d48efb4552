package processtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// TestOperating is what operators do with workers and pools, in one cluster.
func TestOperating(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	w.client("tests")
	t.Run("drain", func(t *testing.T) { testDrainCommand(w.in(t)) })
	t.Run("pool-pause", func(t *testing.T) { testPoolPause(w.in(t)) })
	t.Run("rerun", func(t *testing.T) { testRerun(w.in(t)) })
	t.Run("evict", func(t *testing.T) { testEvict(w.in(t)) })
	t.Run("update", func(t *testing.T) { testUpdate(w.in(t)) })
}

// explained is what weir job explain says of a job, on one line.
func (w *world) explained(id uint64) string {
	w.t.Helper()
	return strings.Join(strings.Fields(w.ok(w.adminAt, "job", "explain", fmt.Sprint(id))), " ")
}

// testDrainCommand: weir worker drain waits for what runs, over the leader's
// death; the worker stays paused when it comes again, until it is unpaused.
func testDrainCommand(w *world) {
	capFile := w.pool("drain", &pb.PoolConfig{BackoffMs: 50})
	worker := w.worker("drain", "w1", capFile, 2)
	runs := w.waiting("drain", "runs")
	w.until("the build", func() bool { return w.alive("runs") })
	drain := w.begin(w.adminAt, "worker", "drain", "drain", "w1", "--reason", "new disk")
	w.until("the pause", func() bool { return drain.err.has("1 job still runs on 1 worker") })
	waits := w.waiting("drain", "waits")
	leader, _ := w.leader()
	w.kill(leader)
	w.until("the worker to be back", func() bool { return w.workerState("drain", "w1") == "paused" })
	w.revive(leader)
	if why := w.explained(waits); !strings.Contains(why, `the only worker that fits, "w1", is paused by an operator: new disk`) {
		w.t.Error(why)
	}
	w.touch("runs-1")
	if a := drain.wait(); a.code != 0 || !strings.Contains(a.err, "nothing runs on them") {
		w.t.Errorf("drain: exit code %d, %s", a.code, a.err)
	}
	if j := w.settled(runs); j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 1 {
		w.t.Errorf("the job that ran: %v", j)
	}
	w.must(worker.Stop())
	w.startWorker(nil, "drain", "w1", capFile, 2)
	w.until("the worker to be back", func() bool { return w.workerState("drain", "w1") == "paused" })
	for line, part := range map[string]string{
		"worker list --pool drain": "paused", "worker show drain w1": "new disk", "pool show drain": "new disk",
	} {
		if out := w.ok(w.adminAt, strings.Fields(line)...); !strings.Contains(out, part) {
			w.t.Errorf("weir %s:\n%s", line, out)
		}
	}
	if j := w.job(waits); j.State != pb.JobState_JOB_STATE_QUEUED {
		w.t.Errorf("the job that waits: %v", j)
	}
	if out := w.ok(w.adminAt, "worker", "exec", "drain", "--", "echo", "{}.example.org"); out != "w1.example.org\n" {
		w.t.Errorf("exec: %q", out)
	}
	w.touch("waits-1")
	w.ok(w.adminAt, "worker", "unpause", "drain", "--all")
	w.settled(waits)
	w.ok(w.adminAt, "worker", "pause", "drain", "w8", "--auto-create", "--reason", "not yet")
	w.startWorker(nil, "drain", "w8", capFile, 1)
	w.until("the new worker to be paused", func() bool { return w.workerState("drain", "w8") == "paused" })
	w.refused(w.weir(w.adminAt, "worker", "pause", "drain"), 2, "--all")
	w.refused(w.weir(w.adminAt, "worker", "pause", "drain", "w1", "w9"), 4, `no worker "w9"`)
}

// testPoolPause: a paused pool takes jobs and starts none.
func testPoolPause(w *world) {
	capFile := w.pool("paused", nil)
	w.worker("paused", "p1", capFile, 1)
	w.ok(w.adminAt, "pool", "pause", "paused", "--reason", "moving house")
	id := w.waiting("paused", "job")
	if why := w.explained(id); !strings.Contains(why, "its pool is paused by an operator: moving house") {
		w.t.Error(why)
	}
	if out := w.ok(w.adminAt, "pool", "show", "paused"); !strings.Contains(out, "moving house") {
		w.t.Error(out)
	}
	w.touch("job-1")
	w.ok(w.adminAt, "pool", "unpause", "paused")
	w.settled(id)
	w.ok(w.adminAt, "client", "set-rate", "tests", "2.5")
	if out := w.ok(w.adminAt, "client", "list"); !strings.Contains(out, "2.5") {
		w.t.Error(out)
	}
	w.refused(w.weir(w.adminAt, "client", "set-rate", "tests", "0"), 2, "above 0")
	w.refused(w.weir(w.adminAt, "client", "set-rate", "nobody", "1"), 4, `no client "nobody"`)
}

// testEvict: an evicted job runs on another worker, its first build is killed, and
// no attempt has failed.
func testEvict(w *world) {
	capFile := w.pool("evict", &pb.PoolConfig{Attempts: 1})
	w.worker("evict", "e1", capFile, 2)
	id := w.waiting("evict", "job")
	w.until("the build", func() bool { return w.alive("job") })
	w.refused(w.weir(w.adminAt, "worker", "evict", "evict", "e1", "999999"), 4, "does not run job 999999")
	w.ok(w.adminAt, "worker", "pause", "evict", "e1")
	w.ok(w.adminAt, "worker", "evict", "evict", "e1", fmt.Sprint(id), "--reason", "new disk")
	took := w.until("the build to die", func() bool { return !w.alive("job") })
	w.t.Logf("the build died %v after the eviction", took.Round(time.Millisecond))
	w.worker("evict", "e2", capFile, 2)
	w.touch("job-2")
	j := w.settled(id)
	if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 2 || j.Attempts[1].Worker != "e2" ||
		j.Attempts[0].Outcome.Message != "an operator took the job off the worker: new disk" {
		w.t.Errorf("the evicted job: %v", j)
	}
}

// testRerun: failed jobs are found and run again; those that are over only.
func testRerun(w *world) {
	capFile := w.pool("rerun", nil)
	w.worker("rerun", "r1", capFile, 2)
	run := func(code string, hint string) string {
		a := w.weir(w.adminAt, "submit", "--client", "tests", "--pool", "rerun", "--cache-hint", hint, "--detach", "--", "sh", "-c", "exit "+code)
		id := strings.TrimSpace(a.out)
		w.until("the end of job "+id, func() bool { return strings.Contains(w.ok(w.adminAt, "job", "show", id), "settled") })
		return id
	}
	good, bad, killed := run("0", "x"), run("3", "x"), run("137", "y")
	if out := w.ok(w.adminAt, "jobs", "--pool", "rerun", "--state", "failed", "--cache-hint", "x", "--since", "1h"); !strings.Contains(out, "\n"+bad+" ") || strings.Contains(out, "\n"+good+" ") || strings.Contains(out, "\n"+killed+" ") {
		w.t.Errorf("the failed jobs with hint x:\n%s", out)
	}
	if out := w.ok(w.adminAt, "job", "rerun", "--failed", "--since", "1h", "--pool", "rerun", "--exit-code", "137"); !strings.HasPrefix(out, killed+" runs again as ") || strings.Count(out, "\n") != 1 {
		w.t.Errorf("the jobs that ended with 137: %q", out)
	}
	first := w.ok(w.adminAt, "job", "rerun", "--failed", "--since", "1h", "--pool", "rerun", "--exit-code", "3")
	repeat := w.ok(w.adminAt, "job", "rerun", "--failed", "--since", "1h", "--pool", "rerun", "--exit-code", "3")
	if want := strings.Replace(first, "runs again as", "was submitted again before, as", 1); !strings.HasPrefix(first, bad+" runs again as ") || !strings.HasPrefix(repeat, want) {
		w.t.Errorf("the jobs that ended with 3: %q, and when the run is repeated: %q", first, repeat)
	}
	named := w.ok(w.adminAt, "job", "rerun", bad, "--run", "tuesday")
	if again := w.ok(w.adminAt, "job", "rerun", bad, "--run", "tuesday"); again != strings.Replace(named, "runs again as", "was submitted again before, as", 1) {
		w.t.Errorf("a named run: %q, and repeated: %q", named, again)
	}
	if out := w.ok(w.adminAt, "job", "rerun", "--failed", "--since", "1h", "--pool", "rerun", "--infrastructure"); out != "" {
		w.t.Errorf("nothing was lost, and these run again: %q", out)
	}
	if out := w.ok(w.adminAt, "job", "rerun", good); !strings.HasPrefix(out, good+" runs again as ") {
		w.t.Errorf("the named job: %q", out)
	}
	waits := w.waiting("rerun", "job")
	w.refused(w.weir(w.adminAt, "job", "rerun", fmt.Sprint(waits)), 4, "once it is over")
	w.refused(w.weir(w.adminAt, "job", "rerun", "--failed"), 2, "--since")
	w.touch("job-1")
	w.settled(waits)
}
