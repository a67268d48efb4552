package processtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// TestCommands is the command line as people and programs meet it.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	w.client("tests")
	capFile := w.pool("a-pool-with-a-rather-long-name", &pb.PoolConfig{BackoffMs: 50})
	w.worker("a-pool-with-a-rather-long-name", "a-worker-with-a-rather-long-name", capFile, 4)
	ci := w.client("a-client-with-a-rather-long-name")
	for name, test := range map[string]func(*world, string){
		"exit-codes": testExitCodes, "signals": testSignals, "request-key": testRequestKey,
		"listings": testListings, "completion": testCompletion, "disconnect": testDisconnect,
	} {
		t.Run(name, func(t *testing.T) { test(w.in(t), ci) })
	}
}

const longPool = "a-pool-with-a-rather-long-name"

// submitting is the command line that runs a program as a build.
func submitting(argv ...string) []string {
	return append([]string{"submit", "--pool", longPool, "--"}, argv...)
}

func testExitCodes(w *world, ci string) {
	a := w.weir(ci, submitting("echo", "hello")...)
	if a.code != 0 || a.out != "Building on a-worker-with-a-rather-long-name\nhello\nJob succeeded\n" || !strings.Contains(a.err, "succeeded") {
		w.t.Errorf("a build that succeeds: exit code %d, %q, %s", a.code, a.out, a.err)
	}
	w.refused(w.weir(ci, submitting("sh", "-c", "exit 42")...), 1, "42")
	w.refused(w.weir(ci, submitting("sh", "-c", "kill -9 $$")...), 1, "SIGKILL")
	w.refused(w.weir(ci, submitting("no-such-program")...), 1, "no-such-program")
	w.refused(w.weir(ci, "submit", "--pool", longPool, "--timeout", "1s", "--", "sleep", "100"), 1, "time limit of 1s")
	w.refused(w.weir(ci, "submit", "--pool", "nowhere", "--", "true"), 4, `no pool "nowhere"`)
	w.refused(w.weir(ci, "pool", "create", "mine"), 4, "weir cap create")
	w.refused(w.weir(ci, "job", "show", "999999"), 4, "999999")
	w.refused(w.weir(ci, "logs", "999999"), 4, "999999")
	w.refused(w.weir(ci, "submit", "--", "true"), 2, "pool")
	w.refused(w.weir(ci, "submit", "--pool", longPool), 2)
	w.refused(w.weir(ci, "submit", "--pool", longPool, "--commit", "abc", "--", "true"), 2, "--repo")
	w.refused(w.weir(ci, "no-such-command"), 2, "no-such-command")
	w.refused(w.weir(ci, "jobs", "--no-such-flag"), 2, "weir jobs --help")
	w.refused(w.weir(ci, "jobs", "-o", "xml"), 2, "json")
	w.refused(w.weir(ci, "job", "show", "abc"), 2, "not a job id")
	w.refused(w.weir("/no/such/file", "jobs"), 2, "/no/such/file")
}

// testSignals: SIGINT and SIGTERM cancel the build, and wait for its end.
func testSignals(w *world, ci string) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		mark := fmt.Sprintf("signal-%d;", s)
		c := w.begin(ci, submitting("sh", "-c", ": "+mark+" echo begun; sleep 1000; :")...)
		w.until("the build", func() bool { return c.out.has("begun") })
		w.interruptReader(ci, c, s)
		c.signal(s)
		w.until("the cancellation", func() bool { return c.err.has("cancelling job") })
		c.signal(s) // it came twice, as timeout(1) sends it
		a := c.wait()
		w.refused(a, 5, "cancelling job", "cancelled")
		if !strings.HasSuffix(a.out, "\nJob cancelled\n") {
			w.t.Errorf("the log of a build that was cancelled by %v: %q", s, a.out)
		}
		if n := len(processes(mark)); n > 0 {
			w.t.Errorf("%d processes of the build are left after %v", n, s)
		}
	}
}

// interruptReader sends a signal to one who reads a build's log, and the build goes on.
func (w *world) interruptReader(ci string, build *command, s syscall.Signal) {
	w.t.Helper()
	var id uint64
	_, err := fmt.Sscanf(build.err.String(), "weir: job %d", &id)
	w.must(err)
	reader := w.begin(ci, "logs", "-f", fmt.Sprint(id))
	w.until("the log", func() bool { return reader.out.has("begun") })
	reader.signal(s)
	if a := reader.wait(); a.code != 130 || a.err != "" {
		w.t.Errorf("logs -f that got %v: exit code %d, %q", s, a.code, a.err)
	}
	if j := w.job(id); j.State != pb.JobState_JOB_STATE_RUNNING || j.CancelRequested {
		w.t.Errorf("the job whose reader got %v: %v", s, j)
	}
}

// testRequestKey: --detach prints the job's id alone; a repeat with the same key
// finds the same job, also one that is over.
func testRequestKey(w *world, ci string) {
	keyed := func(more ...string) []string {
		return append(append([]string{"submit", "--pool", longPool, "--request-key", "ci-4711"}, more...), "--", "echo", "keyed")
	}
	id := w.ok(ci, keyed("--detach")...)
	if _, err := fmt.Sscanf(id, "%d\n", new(int)); err != nil {
		w.t.Errorf("--detach printed %q", id)
	}
	if again := w.ok(ci, keyed("--detach")...); again != id {
		w.t.Errorf("the key found job %q, not %q", again, id)
	}
	a := w.weir(ci, keyed()...)
	if a.code != 0 || !strings.Contains(a.out, "\nkeyed\n") || !strings.Contains(a.err, "found again by its request key") {
		w.t.Errorf("a repeat that follows: exit code %d, %q, %s", a.code, a.out, a.err)
	}
	w.refused(w.weir(ci, "submit", "--pool", longPool, "--request-key", "ci-4711", "--", "echo", "other"), 4, "key")
}

// testListings: every listing is JSON when asked for, and fits 80 columns when
// not.
func testListings(w *world, ci string) {
	id := strings.TrimSpace(w.ok(ci, append([]string{"submit", "--detach"}, submitting("true")[1:]...)...))
	w.until("the job's end", func() bool { return strings.Contains(w.ok(ci, "job", "show", id), "succeeded") })
	for _, line := range []string{
		"jobs", "jobs --state settled", "job show " + id, "job explain " + id, "pool list", "pool show " + longPool,
		"client list", "cap list", "cap list --revoked", "worker list", "raft list", "status",
	} {
		args := strings.Fields(line)
		var parsed map[string]any
		if err := json.Unmarshal([]byte(w.ok(w.adminAt, append(args, "-o", "json")...)), &parsed); err != nil || len(parsed) == 0 {
			w.t.Errorf("weir %s -o json: %v, %v", line, parsed, err)
		}
		for row := range strings.Lines(w.ok(w.adminAt, args...)) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(row, "\n")); n > 80 && (args[0] == "jobs" || args[0] == "worker") {
				w.t.Errorf("weir %s: a row of %d columns: %s", line, n, row)
			}
		}
	}
	if out := w.ok(ci, "pool", "show", longPool); !strings.Contains(out, "0 queued") || strings.Contains(out, "WORKER") {
		w.t.Errorf("what a client sees of its pool: %q", out)
	}
	var made struct{ Job string }
	if err := json.Unmarshal([]byte(w.ok(ci, append([]string{"submit", "--detach", "-o", "json"}, submitting("true")[1:]...)...)), &made); err != nil || made.Job == "" {
		w.t.Errorf("submit --detach -o json: %v, %v", made, err)
	}
}

// testCompletion: shells complete pools and job ids.
func testCompletion(w *world, ci string) {
	id := strings.TrimSpace(w.ok(ci, append([]string{"submit", "--detach"}, submitting("true")[1:]...)...))
	for _, c := range []struct {
		line []string
		want string
	}{
		{[]string{"submit", "--pool", ""}, longPool + "\n"},
		{[]string{"jobs", "--pool", ""}, longPool + "\n"},
		{[]string{"job", "show", ""}, id + "\t"},
		{[]string{"logs", "-f", ""}, id + "\t"},
		{[]string{"job", "cancel", ""}, id + "\t"},
		{[]string{"pool", "show", ""}, longPool + "\n"},
		{[]string{"job", ""}, "explain\t"},
		{[]string{"cap", "create", ""}, "operator"},
	} {
		out := w.ok(ci, append([]string{"__complete"}, c.line...)...)
		if !strings.Contains("\n"+out, "\n"+c.want) {
			w.t.Errorf("completion of %q: %q", c.line, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := w.ok("", "completion", shell); !strings.Contains(out, "weir") {
			w.t.Errorf("completion %s: %q", shell, out)
		}
	}
}

// testDisconnect: with --cancel-on-disconnect a build ends when its submitter
// dies, but not when a node does.
func testDisconnect(w *world, ci string) {
	_, followers := w.leader()
	submit := func(name, capFile string) *command {
		return w.begin(capFile, append([]string{"submit", "--cancel-on-disconnect"}, submitting("sh", "-c", ": "+name+"; echo begun; sleep 1000; :")[1:]...)...)
	}
	dies, lives := submit("dies", ci), submit("lives", w.through(ci, followers...))
	var jobs []uint64
	for _, c := range []*command{dies, lives} {
		w.until("the build", func() bool { return c.out.has("begun") })
		var id uint64
		_, err := fmt.Sscanf(c.err.String(), "weir: job %d", &id)
		w.must(err)
		jobs = append(jobs, id)
	}
	for _, n := range followers { // one of them passes the second watch on
		w.kill(n)
		w.revive(n)
	}
	dies.signal(syscall.SIGKILL)
	died := time.Now()
	j := w.settled(jobs[0])
	w.t.Logf("the build was cancelled %v after its submitter's death", time.Since(died).Round(time.Millisecond))
	if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_CANCELLED {
		w.t.Errorf("the job of the dead submitter: %v", j)
	}
	if j := w.job(jobs[1]); j.State != pb.JobState_JOB_STATE_RUNNING || j.CancelRequested || len(j.Attempts) != 1 {
		w.t.Errorf("the job of the submitter that lives: %v", j)
	}
	lives.signal(syscall.SIGINT)
	w.refused(lives.wait(), 5)
}
