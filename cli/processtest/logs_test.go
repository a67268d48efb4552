package processtest

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// A long log is lines of lineBytes, each with its number: longLines of them at
// once, and then one after another until a file says that it is enough.
const (
	lineBytes = 64
	longLines = 1 << 20
)

func longScript(stop string) string {
	return fmt.Sprintf(`seq -f 'line %%010.0f of a log that is long, and is written very fast    ' 1 %[1]d
i=%[1]d
while ! [ -e %[2]s ]; do
	i=$((i+1)); printf 'line %%010d of a log that is long, and is written very fast    \n' $i; sleep 0.02
done
`, longLines, stop)
}

// reader checks a long log as it comes and remembers when.
type reader struct {
	mu    sync.Mutex
	rest  []byte
	lines int
	bytes int
	last  time.Time
	err   error
}

func (r *reader) take(d *pb.LogData) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(d.Data) == 0 {
		return nil
	}
	r.bytes, r.last = r.bytes+len(d.Data), time.Now()
	r.rest = append(r.rest, d.Data...)
	for r.err == nil {
		line, rest, ok := bytes.Cut(r.rest, []byte("\n"))
		if !ok {
			break
		}
		r.rest = rest
		r.check(string(line))
	}
	r.rest = bytes.Clone(r.rest)
	return r.err
}

func (r *reader) check(line string) {
	want := fmt.Sprintf("line %010d of a log that is long, and is written very fast    ", r.lines+1)
	switch {
	case line == want:
		r.lines++
	case r.lines == 0 && strings.HasPrefix(line, "Building on "), line == "Job succeeded":
	default:
		r.err = fmt.Errorf("after %d lines: %q", r.lines, line)
	}
}

func (r *reader) state() (bytes int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes, r.last
}

// TestLogs is about the logs of builds when nodes and workers die.
func TestLogs(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	w.client("tests")
	t.Run("failover", func(t *testing.T) { testLogFailover(w.in(t)) })
	t.Run("unsealed", func(t *testing.T) { testUnsealedLog(w.in(t)) })
}

// The leader dies while a build writes a long log that somebody follows through
// a follower. The worker dies after it; the log stays, on every node.
func testLogFailover(w *world) {
	capFile := w.pool("long", nil)
	worker := w.worker("long", "writer", capFile, 1)
	req := submit("long", "sh", "-c", longScript(filepath.Join(w.shared, "stop")))
	req.Client = "tests"
	made, err := w.admin.Submit(w.ctx, req)
	w.must(err)
	leader, followers := w.leader()
	through := w.only(followers[0])
	var seen reader
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	tailed := make(chan error, 1)
	go func() { // ends with the log
		tailed <- through.Tail(ctx, &pb.ReadLogRequest{Job: made.Job, Attempt: 1, Follow: true}, seen.take)
	}()
	w.until("a good part of the log", func() bool { n, _ := seen.state(); return n > 8<<20 })
	had, _ := seen.state()
	killed := time.Now()
	w.kill(leader)
	w.until("another leader", func() bool { n, _ := w.leader(); return n != leader })
	elected := time.Now()
	w.until("new bytes after the failover", func() bool { _, last := seen.state(); return last.After(elected) })
	_, last := seen.state()
	w.t.Logf("with %d MB written there was a leader again after %v, and new bytes reached a follower's reader %v after that (bound: 2s)",
		had>>20, elected.Sub(killed).Round(time.Millisecond), last.Sub(elected).Round(time.Millisecond))
	if took := last.Sub(elected); took > 6*time.Second {
		w.t.Errorf("new bytes came %v after the failover", took)
	}
	w.until("all of the long part", func() bool { n, _ := seen.state(); return n > longLines*lineBytes })
	w.touch("stop")
	if err := <-tailed; err != nil {
		w.t.Fatalf("follow the log: %v", err)
	}
	if j := w.settled(made.Job); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		w.t.Errorf("the job: %v", j)
	}
	worker.Kill()
	w.revive(leader)
	for _, n := range w.cluster.Nodes {
		var again reader
		err := w.only(n).Tail(w.ctx, &pb.ReadLogRequest{Job: made.Job, Attempt: 1}, again.take)
		if err != nil || again.lines != seen.lines || again.bytes != seen.bytes {
			w.t.Errorf("from %s: %d lines, %d bytes of %d and %d: %v", n.Name, again.lines, again.bytes, seen.lines, seen.bytes, err)
		}
	}
	w.t.Logf("%d lines, %d MB, the same from every node without its worker", seen.lines, seen.bytes>>20)
}

// A worker dies for good in the middle of a build. What came of the log can be
// read; a reader hears who holds the rest, and does not take it for complete.
func testUnsealedLog(w *world) {
	capFile := w.pool("gone", &pb.PoolConfig{Attempts: 1})
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
