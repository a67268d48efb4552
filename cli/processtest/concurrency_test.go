package processtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// TestConcurrencyKeys cuts off a worker that runs a job with a concurrency key: the
// job runs elsewhere, and the two runs never overlap, by their own clocks. Another
// job with the key waits for both; one without it does not.
func TestConcurrencyKeys(t *testing.T) {
	t.Parallel()
	wire := newWire(t)
	w := start(t, local.Config{Host: wire.outer, Profile: "default"}) // a loaded machine keeps its leader
	w.client("tests")
	capFile := w.pool("keys", &pb.PoolConfig{BackoffMs: 50, LeaseTtlMs: 5000})
	w.startWorker(wire.enter(), "keys", "far", capFile, 2)
	w.until("worker far to be ready", func() bool { return w.workerState("keys", "far") == "ready" })

	first := w.keyed("keys", "first")
	w.until("the first run", func() bool { return len(w.ticks("first-1")) > 3 })
	w.worker("keys", "near", capFile, 2)
	second := w.keyed("keys", "second")
	shown := w.ok(w.adminAt, "job", "explain", fmt.Sprint(second))
	if !strings.Contains(shown, `concurrency key "deploy" lets 1 job run at once`) || !strings.Contains(shown, fmt.Sprintf("job %d has the key", first)) {
		t.Errorf("explain says of the second job: %s", shown)
	}
	free := w.waiting("keys", "free")
	w.until("a job without the key", func() bool { return w.alive("free") })

	cut := time.Now()
	wire.cut()
	w.until("the lease to be over", func() bool { return w.job(first).Attempts[0].Outcome != nil })
	w.until("explain to say why the key is taken", func() bool {
		return strings.Contains(w.ok(w.adminAt, "job", "explain", fmt.Sprint(second)), "its build may still run there")
	})
	next := ""
	w.until("the next run with the key", func() bool {
		for _, name := range []string{"first-2", "second-1"} {
			if len(w.ticks(name)) > 3 {
				next = name
			}
		}
		return next != ""
	})
	lost, other := w.ticks("first-1"), w.ticks(next)
	ended, begun := lost[len(lost)-1], other[0]
	t.Logf("cut off, the first run went on for %v; the next one (%s) began %v after the cut", ended.Sub(cut).Round(time.Millisecond), next, begun.Sub(cut).Round(time.Millisecond))
	if ended.Before(cut) || !begun.After(ended) {
		t.Errorf("the lost run ticked last at %v, the next one first at %v", ended, begun)
	}
	wire.mend()
	w.until("the worker to be back", func() bool { return w.workerState("keys", "far") == "ready" })
	for _, name := range []string{"first", "second"} {
		w.touch(name + "-end")
	}
	w.settled(first)
	w.settled(second)
	w.touch("free-1")
	w.touch("free-2") // if it was on the lost worker
	w.settled(free)
	w.disjoint(w.ticks("first-1"), w.ticks("first-2"), w.ticks("second-1"))
}

// keyed is a job with the concurrency key deploy that ends once there is a file
// NAME-end. Until then it writes the time to NAME-ATTEMPT again and again.
func (w *world) keyed(pool, name string) uint64 {
	w.t.Helper()
	at := filepath.Join(w.shared, name)
	script := fmt.Sprintf(`while ! [ -e %[1]s-end ]; do date +%%s%%N >>%[1]s-$WEIR_ATTEMPT; sleep 0.02; done`, at)
	req := submit(pool, "sh", "-c", script)
	req.Client, req.Spec.Concurrency = "tests", &pb.Concurrency{Key: "deploy", Most: 1}
	r, err := w.admin.Submit(w.ctx, req)
	w.must(err)
	return r.Job
}

// ticks are the times that an attempt of a keyed job has written.
func (w *world) ticks(attempt string) (times []time.Time) {
	text, _ := os.ReadFile(filepath.Join(w.shared, attempt))
	for line := range strings.Lines(string(text)) {
		if n, err := strconv.ParseInt(strings.TrimSuffix(line, "\n"), 10, 64); err == nil && strings.HasSuffix(line, "\n") {
			times = append(times, time.Unix(0, n))
		}
	}
	return times
}

// disjoint checks that no two runs were there at the same time.
func (w *world) disjoint(runs ...[]time.Time) {
	w.t.Helper()
	for i, a := range runs {
		for j, b := range runs {
			if i < j && len(a) > 0 && len(b) > 0 && !a[len(a)-1].Before(b[0]) && !b[len(b)-1].Before(a[0]) {
				w.t.Errorf("run %d was there from %v to %v, and run %d from %v to %v", i, a[0], a[len(a)-1], j, b[0], b[len(b)-1])
			}
		}
	}
}
