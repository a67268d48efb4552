package processtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// A long log is lines of lineBytes, each with its number: longLines of them at
// once, which makes 200 MB, and then one after another until a file says that it
// is enough.
const (
	lineBytes = len("line ") + 10 + len(lineRest) + 1
	lineRest  = " of a log that is long, and is written very fast    "
	longLines = 3_000_000
)

func longScript(written, stop string) string {
	return fmt.Sprintf(`seq -f 'line %%010.0f%[4]s' 1 %[1]d
i=%[1]d
: >%[3]s
while ! [ -e %[2]s ]; do
	i=$((i+1)); printf 'line %%010d%[4]s\n' $i; sleep 0.02
done
`, longLines, stop, written, lineRest)
}

// reader checks a long log as it comes and remembers when.
type reader struct {
	mu     sync.Mutex
	rest   []byte
	lines  int
	bytes  int
	digest hash.Hash
	last   time.Time
	err    error
}

func newReader() *reader { return &reader{digest: sha256.New()} }

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes, r.last = r.bytes+len(p), time.Now()
	r.digest.Write(p) // never fails
	r.rest = append(r.rest, p...)
	rest := r.rest
	for r.err == nil {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			break
		}
		rest = after
		r.check(string(line))
	}
	r.rest = append(r.rest[:0], rest...)
	return len(p), r.err
}

func (r *reader) check(line string) {
	if number, ok := strings.CutPrefix(line, "line "); ok {
		number, ok = strings.CutSuffix(number, lineRest)
		if n, err := strconv.Atoi(number); ok && len(number) == 10 && err == nil && n == r.lines+1 {
			r.lines++
			return
		}
	}
	if r.lines == 0 && strings.HasPrefix(line, "Building on ") || line == "Job succeeded" {
		return
	}
	r.err = fmt.Errorf("after %d lines: %q", r.lines, line)
}

func (r *reader) state() (bytes int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes, r.last
}

// TestLogs is about the logs of builds when nodes and workers die.
func TestLogs(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{Profile: "default"}) // 200 MB are much for three nodes and their readers on one machine
	w.client("tests")
	t.Run("failover", func(t *testing.T) { testLogFailover(w.in(t)) })
	t.Run("unsealed", func(t *testing.T) { testUnsealedLog(w.in(t)) })
}

// The leader dies when a build has written 200 MB of log, which somebody follows
// through a follower, and goes on writing. The worker dies after it; the log
// stays, on every node.
func testLogFailover(w *world) {
	capFile := w.pool("long", nil)
	worker := w.worker("long", "writer", capFile, 1)
	req := submit("long", "sh", "-c", longScript(filepath.Join(w.shared, "written"), filepath.Join(w.shared, "stop")))
	req.Client = "tests"
	made, err := w.admin.Submit(w.ctx, req)
	w.must(err)
	_, followers := w.leader()
	seen := newReader()
	id := fmt.Sprint(made.Job)
	follower := w.beginTo(seen, w.through(w.adminAt, followers[0]), "logs", "-f", id)
	w.until("200 MB to be written", func() bool { return w.exists("written") })
	leader := w.leaderBut(followers[0])
	had, _ := seen.state()
	killed := time.Now()
	w.kill(leader)
	w.until("another leader", func() bool { n, _ := w.leader(); return n != leader })
	elected := time.Now()
	w.until("new bytes after the failover", func() bool { _, last := seen.state(); return last.After(elected) })
	_, last := seen.state()
	w.t.Logf("200 MB were written and %d MB read when the leader died; there was another after %v, and new bytes reached `weir logs -f` through a follower %v after that (bound: 2s)",
		had/1e6, elected.Sub(killed).Round(time.Millisecond), last.Sub(elected).Round(time.Millisecond))
	if took := last.Sub(elected); took > 2*time.Second+crowd {
		w.t.Errorf("new bytes came %v after the failover", took)
	}
	took := w.until("all that was written", func() bool { n, _ := seen.state(); return n > longLines*lineBytes })
	w.t.Logf("the reader had all of it %v later", took.Round(time.Millisecond))
	w.touch("stop")
	if a := follower.wait(); a.code != 0 || seen.err != nil {
		w.t.Fatalf("weir logs -f: exit code %d, %v: %s", a.code, seen.err, a.err)
	}
	if j := w.settled(made.Job); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		w.t.Errorf("the job: %v", j)
	}
	worker.Kill()
	w.revive(leader)
	for _, n := range w.cluster.Nodes {
		digest := sha256.New()
		err := w.only(n).Tail(w.ctx, &pb.ReadLogRequest{Job: made.Job, Attempt: 1}, func(d *pb.LogData) error {
			_, err := digest.Write(d.Data)
			return err
		})
		if err != nil || !bytes.Equal(digest.Sum(nil), seen.digest.Sum(nil)) {
			w.t.Errorf("the log from %s is another: %v", n.Name, err)
		}
	}
	w.t.Logf("%d lines, %d MB, the same from every node without its worker", seen.lines, seen.bytes/1e6)
}

// leaderBut is the leader; when that has become the given node, which happens on
// a crowded machine, it makes another one.
func (w *world) leaderBut(not *local.Node) *local.Node {
	w.t.Helper()
	n, others := w.leader()
	if n == not {
		w.until("another leader", func() bool {
			w.weir(w.adminAt, "raft", "transfer", others[0].Name) // may be refused when that one is busy
			n, _ = w.leader()
			return n != not
		})
	}
	return n
}

// A worker dies for good in the middle of a build. What came of the log can be
// read; a reader hears who holds the rest, and does not take it for complete.
func testUnsealedLog(w *world) {
	capFile := w.pool("gone", &pb.PoolConfig{Attempts: 1, LeaseTtlMs: 4000})
	worker := w.worker("gone", "mortal", capFile, 1)
	req := submit("gone", "sh", "-c", "echo these lines; echo came before; exec sleep 1000")
	req.Client = "tests"
	made, err := w.admin.Submit(w.ctx, req)
	w.must(err)
	const came = "Building on mortal\nthese lines\ncame before\n"
	id := fmt.Sprint(made.Job)
	w.until("the lines", func() bool { return w.weir(w.adminAt, "logs", id).out == came })
	follower := w.begin(w.adminAt, "logs", "-f", id)
	w.until("the lines to be followed", func() bool { return follower.out.String() == came })
	worker.Kill()
	if j := w.settled(made.Job); j.Outcome.Kind != pb.OutcomeKind_OUTCOME_LOST {
		w.t.Errorf("the job: %v", j)
	}
	a := follower.wait()
	w.refused(a, 8, "the log is not complete", "worker mortal of pool gone holds the rest", "last heard")
	w.t.Logf("who followed the log heard: %s", strings.TrimSpace(a.err))
	for _, n := range w.cluster.Nodes {
		a := w.weir(w.through(w.adminAt, n), "logs", id)
		w.refused(a, 8, "worker mortal of pool gone holds the rest")
		if a.out != came {
			w.t.Errorf("from %s: %q", n.Name, a.out)
		}
	}
	// The worker comes back, and with it the rest.
	worker = w.worker("gone", "mortal", capFile, 1)
	w.until("the log to be complete", func() bool { return w.weir(w.adminAt, "logs", id).code == 0 })
	if text := w.ok(w.adminAt, "logs", id); text != came+"\nJob stopped by its worker: worker restarted\n" {
		w.t.Errorf("the complete log: %q", text)
	}
	w.must(worker.Stop())
}
