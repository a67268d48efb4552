package processtest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// TestWorkers is what happens to workers and their jobs, in one cluster.
func TestWorkers(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	w.client("tests")
	t.Run("stopped", func(t *testing.T) { testStoppedWorker(w.in(t)) })
	t.Run("restarted", func(t *testing.T) { testRestartedWorker(w.in(t)) })
	t.Run("drained", func(t *testing.T) { testDrainedWorker(w.in(t)) })
	t.Run("cloned", func(t *testing.T) { testClonedWorker(w.in(t)) })
	t.Run("cancelled", func(t *testing.T) { testCancelledWithDeadWorker(w.in(t)) })
	t.Run("dead", func(t *testing.T) { testAllWorkersDead(w.in(t)) })
}

// waiting is a job whose attempt n ends once there is a file NAME-n; it leaves
// its number in the file NAME-ended.
func (w *world) waiting(pool, name string) uint64 {
	w.t.Helper()
	at := filepath.Join(w.shared, name)
	script := fmt.Sprintf(`: %[1]s; while ! [ -e %[1]s-$WEIR_ATTEMPT ]; do sleep 0.05; done; echo $WEIR_ATTEMPT >>%[1]s-ended`, at)
	r, err := w.admin.Submit(w.ctx, func() *pb.SubmitRequest {
		req := submit(pool, "sh", "-c", script)
		req.Client = "tests"
		return req
	}())
	w.must(err)
	return r.Job
}

// ended is which attempts of a waiting job came to their end.
func (w *world) ended(name string) string {
	text, _ := os.ReadFile(filepath.Join(w.shared, name+"-ended"))
	return strings.Join(strings.Fields(string(text)), " ")
}

// alive says whether a waiting job's processes are there.
func (w *world) alive(name string) bool { return len(processes(filepath.Join(w.shared, name)+";")) > 0 }

// A worker stops answering with its connections open. Its jobs go elsewhere
// after the lease's time to live. When it goes on, the old build dies before it
// can finish, and what another one had finished meanwhile is refused.
func testStoppedWorker(w *world) {
	capFile := w.pool("stopped", &pb.PoolConfig{BackoffMs: 50})
	first := w.worker("stopped", "first", capFile, 2)
	killed, finished := w.waiting("stopped", "killed"), w.waiting("stopped", "finished")
	w.until("both builds", func() bool { return w.alive("killed") && w.alive("finished") })
	second := w.worker("stopped", "second", capFile, 2)

	stopped := time.Now()
	w.must(first.Signal(syscall.SIGSTOP))
	defer func() { _ = first.Signal(syscall.SIGCONT) }()
	w.touch("finished-1")
	w.until("the first build to end under the stopped worker", func() bool { return w.ended("finished") == "1" })
	a := w.attempt(killed, 2)
	w.t.Logf("the job ran elsewhere %v after SIGSTOP (time to live 4s)", time.Since(stopped).Round(time.Millisecond))
	if a.Worker != "second" {
		w.t.Errorf("attempt 2 runs on %s", a.Worker)
	}
	w.attempt(finished, 2)
	w.until("the second builds", func() bool {
		return len(processes(filepath.Join(w.shared, "killed")+";")) >= 2 && len(processes(filepath.Join(w.shared, "finished")+";")) > 0
	})

	before := len(processes(filepath.Join(w.shared, "killed") + ";"))
	w.must(first.Signal(syscall.SIGCONT))
	took := w.until("the old build to die", func() bool { return len(processes(filepath.Join(w.shared, "killed")+";")) < before })
	w.t.Logf("the old build died %v after SIGCONT", took.Round(time.Millisecond))
	w.until("the worker to be back", func() bool { return w.workerState("stopped", "first") == "ready" })
	w.touch("killed-1") // nobody is left to see it
	for _, id := range []uint64{killed, finished} {
		if j := w.job(id); j.State != pb.JobState_JOB_STATE_RUNNING || len(j.Attempts) != 2 {
			w.t.Errorf("job %d after the worker came back: %v", id, j)
		}
	}
	w.touch("killed-2")
	w.touch("finished-2")
	for name, id := range map[string]uint64{"killed": killed, "finished": finished} {
		j := w.settled(id)
		if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 2 ||
			j.Attempts[0].Outcome.Kind != pb.OutcomeKind_OUTCOME_WORKER_LOST {
			w.t.Errorf("%s: %v", name, j)
		}
	}
	if got := w.ended("killed"); got != "2" {
		w.t.Errorf("attempts %s came to their end", got)
	}
	w.must(first.Stop())
	w.must(second.Stop())
}

// unruly starts processes that try to get away from their build.
const unruly = `
setsid sh -c ': %[1]s; sleep 1000 & sleep 1000' &
( ( trap '' HUP TERM INT; sh -c ': %[1]s; sleep 1000' & ) & )
sh -c ': %[1]s; sleep 1000'
`

// A worker dies and is started again: what it ran is given up at once, what it
// had finished is delivered, and no process of a job is left.
func testRestartedWorker(w *world) {
	// The time to live is out of reach: only the worker's own word ends attempts.
	capFile := w.pool("restarted", &pb.PoolConfig{BackoffMs: 50, LeaseTtlMs: 120_000})
	metrics := freePort(w)
	flags := []string{"--metrics-listen", metrics}
	p := w.worker("restarted", "w", capFile, 2, flags...)
	done := w.waiting("restarted", "done")
	w.until("the first build", func() bool { return w.alive("done") })
	name := filepath.Join(w.shared, "unruly")
	req := submit("restarted", "sh", "-c", fmt.Sprintf(`[ $WEIR_ATTEMPT = 1 ] || exit 0`+unruly, name))
	req.Client = "tests"
	r, err := w.admin.Submit(w.ctx, req)
	w.must(err)
	w.until("the unruly build's three shells", func() bool { return len(processes("sh\x00-c\x00: "+name)) == 3 })

	// While no node answers, one build ends; its result stays with the worker.
	for _, n := range w.cluster.Nodes {
		w.must(n.Process.Signal(syscall.SIGSTOP))
	}
	w.touch("done-1")
	w.until("a result that is stored", func() bool { return metric(w, metrics, "weir_worker_results_waiting") == "1" })
	p.Kill()
	took := w.until("no process to be left", func() bool { return len(processes(name)) == 0 })
	w.t.Logf("the last process of the job was gone %v after its worker", took.Round(time.Millisecond))
	if took > 3*time.Second {
		w.t.Errorf("processes outlived their worker by %v", took)
	}
	w.wake()

	restarted := time.Now()
	p = w.worker("restarted", "w", capFile, 2, flags...)
	j := w.settled(r.Job)
	w.t.Logf("the given-up job had run again %v after the restart", time.Since(restarted).Round(time.Millisecond))
	if len(j.Attempts) != 2 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED ||
		j.Attempts[0].Outcome.Kind != pb.OutcomeKind_OUTCOME_WORKER_RESTARTED {
		w.t.Errorf("the interrupted job: %v", j)
	}
	if shown := w.ok(w.adminAt, "job", "show", fmt.Sprint(r.Job)); !strings.Contains(shown, "worker restarted") {
		w.t.Errorf("job show: %s", shown)
	}
	if j := w.settled(done); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		w.t.Errorf("the job with the stored result: %v", j)
	}
	if got := w.ended("done"); got != "1" {
		w.t.Errorf("the job with the stored result ran in attempts %s", got)
	}
	for _, id := range []uint64{r.Job, done} {
		if text, err := w.readLog(w.admin, id, 1); err != nil || !strings.HasPrefix(text, "Building on w\n") {
			w.t.Errorf("log of job %d: %q, %v", id, text, err)
		}
	}
	w.must(p.Stop())
}

func freePort(w *world) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer l.Close()
	return l.Addr().String()
}

// metric reads one number of a worker.
func metric(w *world, at, name string) string {
	w.t.Helper()
	r, err := http.Get("http://" + at + "/metrics")
	w.must(err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	w.must(err)
	found := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindSubmatch(body)
	if found == nil {
		w.t.Fatalf("no metric %s at %s", name, at)
	}
	return string(found[1])
}

// SIGTERM drains a worker; a second one kills what runs, which then runs
// elsewhere.
func testDrainedWorker(w *world) {
	capFile := w.pool("drained", &pb.PoolConfig{BackoffMs: 50, LeaseTtlMs: 120_000})
	first := w.worker("drained", "first", capFile, 2)
	running := w.waiting("drained", "running")
	w.until("the build", func() bool { return w.alive("running") })
	w.must(first.Signal(syscall.SIGTERM))
	w.until("the worker to drain", func() bool { return w.workerState("drained", "first") == "draining" })
	later := w.waiting("drained", "later")
	if why := w.ok(w.adminAt, "job", "explain", fmt.Sprint(later)); !strings.Contains(why, "drain") {
		w.t.Errorf("explain of a job that only a draining worker could run: %s", why)
	}
	w.touch("running-1")
	if code := w.ends(first); code != 0 {
		w.t.Errorf("the drained worker ended with exit code %d", code)
	}
	if j := w.settled(running); j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 1 {
		w.t.Errorf("the job that ran while its worker drained: %v", j)
	}
	if j := w.job(later); j.State != pb.JobState_JOB_STATE_QUEUED || len(j.Attempts) != 0 {
		w.t.Errorf("the job that came while the worker drained: %v", j)
	}

	second := w.worker("drained", "second", capFile, 2)
	w.until("the build", func() bool { return w.alive("later") })
	w.must(second.Signal(syscall.SIGTERM))
	w.until("the worker to drain", func() bool { return w.workerState("drained", "second") == "draining" })
	drains := time.Now()
	w.until("another signal to be a second one", func() bool { return time.Since(drains) > 600*time.Millisecond })
	w.must(second.Signal(syscall.SIGTERM))
	if code := w.ends(second); code != 0 {
		w.t.Errorf("the worker that was told twice ended with exit code %d", code)
	}
	if w.alive("later") {
		w.t.Error("the build outlives its worker")
	}
	third := w.worker("drained", "third", capFile, 2)
	w.attempt(later, 2)
	w.touch("later-2")
	j := w.settled(later)
	if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 2 || j.Attempts[1].Worker != "third" ||
		j.Attempts[0].Outcome.Kind != pb.OutcomeKind_OUTCOME_WORKER_ERROR || j.Attempts[0].Outcome.Message != "worker was shut down" {
		w.t.Errorf("the job that was killed: %v", j)
	}
	w.must(third.Stop())
}

// A copy of a worker's state directory is refused while the original answers,
// and so is another one under its name, until an operator says otherwise.
func testClonedWorker(w *world) {
	const pool = "cloned"
	capFile := w.pool(pool, &pb.PoolConfig{LeaseTtlMs: 120_000})
	first := w.worker(pool, "twin", capFile, 1)
	running := w.waiting(pool, "kept")
	w.until("the build", func() bool { return w.alive("kept") })

	// Both have their state below other names, and say that they are "twin".
	clone := w.cluster.WorkerDir("clone")
	w.must(os.Mkdir(clone, 0o755))
	w.must(exec.Command("cp", "-a", filepath.Join(w.cluster.WorkerDir("twin"), "state"), clone).Run())
	impostors := map[string]*local.Process{}
	says := map[string]string{
		"clone":    "runs already",
		"stranger": "is connected with another instance key",
	}
	for name, what := range says {
		impostors[name] = w.startWorker(nil, pool, name, capFile, 1, "--name", "twin")
		w.until(name+" to be refused", func() bool {
			text, _ := os.ReadFile(impostors[name].Log)
			return strings.Contains(string(text), what)
		})
	}
	if w.workerState(pool, "twin") != "ready" || len(w.job(running).Attempts) != 1 || !w.alive("kept") {
		w.t.Errorf("the original worker was disturbed: it is %s", w.workerState(pool, "twin"))
	}
	impostors["clone"].Kill()
	w.touch("kept-1")
	if j := w.settled(running); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		w.t.Errorf("the original's job: %v", j)
	}

	// The original is gone. Its name is bound to its key for a time to live.
	w.must(first.Stop())
	hint := regexp.MustCompile(`or at once with: weir (worker forget [^"\n]*)`)
	var remedy []string
	w.until("the stranger to hear what can be done", func() bool {
		text, _ := os.ReadFile(impostors["stranger"].Log)
		if found := hint.FindSubmatch(text); found != nil {
			remedy = strings.Fields(string(found[1]))
		}
		return remedy != nil
	})
	w.ok(w.adminAt, remedy...)
	took := w.until("the stranger to be let in", func() bool { return w.workerState(pool, "twin") == "ready" })
	w.t.Logf("the name was free %v after `weir %s`", took.Round(time.Millisecond), strings.Join(remedy, " "))
	w.must(impostors["stranger"].Stop())
}

// All workers are gone at once: one is dead, one stands still. The leader suspects
// itself first: it hands its office over and waits one more time to live. Then the
// leases expire, and the jobs go on when there are workers again.
func testAllWorkersDead(w *world) {
	capFile := w.pool("dead", &pb.PoolConfig{BackoffMs: 50})
	var workers []*local.Process
	for _, name := range []string{"d1", "d2"} {
		workers = append(workers, w.worker("dead", name, capFile, 2))
	}
	var jobs []uint64
	for i := range 4 {
		jobs = append(jobs, w.waiting("dead", fmt.Sprintf("job-%d-", i)))
	}
	for i := range jobs {
		w.until("all builds", func() bool { return w.alive(fmt.Sprintf("job-%d-", i)) })
	}
	before, _ := w.leader()
	killed := time.Now()
	workers[0].Kill()
	w.must(workers[1].Signal(syscall.SIGSTOP))
	defer func() { _ = workers[1].Signal(syscall.SIGCONT) }()
	w.until("the leader to try a transfer", func() bool {
		text, _ := os.ReadFile(filepath.Join(before.Dir, "log"))
		return strings.Contains(string(text), "many workers fell silent at once")
	})
	w.t.Logf("the leader suspected itself %v after the workers' death", time.Since(killed).Round(time.Millisecond))
	w.until("another leader", func() bool { n, _ := w.leader(); return n != before })
	w.until("the leases to expire", func() bool { return w.job(jobs[0]).Attempts[0].Outcome != nil })
	w.t.Logf("the leases were over %v after the workers' death (time to live 4s)", time.Since(killed).Round(time.Millisecond))
	// Two times to live, but for a heartbeat that may have been due, and clocks.
	for _, id := range jobs {
		w.until("the lease to expire", func() bool { return w.job(id).Attempts[0].Outcome != nil })
		if held := time.UnixMilli(w.job(id).Attempts[0].EndedMs).Sub(killed); held < 6500*time.Millisecond {
			w.t.Errorf("job %d was given up %v after the workers' death: the leader waited no second time to live", id, held)
		}
	}
	w.worker("dead", "d3", capFile, 4)
	for i, id := range jobs {
		w.touch(fmt.Sprintf("job-%d--2", i))
		j := w.settled(id)
		if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 2 ||
			j.Attempts[0].Outcome.Kind != pb.OutcomeKind_OUTCOME_WORKER_LOST || j.Attempts[1].Worker != "d3" {
			w.t.Errorf("job %d: %v", id, j)
		}
	}
}
