package processtest

import (
	"fmt"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// A job is cancelled whose worker is dead, which nobody knows yet. It runs nowhere
// again, and is over with its lease, or with the worker's next start, whichever
// comes first.
func testCancelledWithDeadWorker(w *world) {
	for _, c := range []struct {
		pool    string
		ttl     int64 // ms
		restart bool
	}{
		{"orphaned", 8_000, false},
		{"returned", 120_000, true},
	} {
		capFile := w.pool(c.pool, &pb.PoolConfig{BackoffMs: 50, LeaseTtlMs: c.ttl})
		first := w.worker(c.pool, c.pool+"-1", capFile, 1)
		id := w.waiting(c.pool, c.pool)
		w.until("the build", func() bool { return w.alive(c.pool) })
		second := w.worker(c.pool, c.pool+"-2", capFile, 1) // would run it at once
		first.Kill()
		w.ok(w.adminAt, "job", "cancel", fmt.Sprint(id))
		if why := w.ok(w.adminAt, "job", "explain", fmt.Sprint(id)); !strings.Contains(why, "asked to stop it") {
			w.t.Errorf("%s: explain of a cancelled job whose worker is dead: %s", c.pool, why)
		}
		if j := w.job(id); j.State != pb.JobState_JOB_STATE_RUNNING {
			w.t.Errorf("%s: over before its lease is: %v", c.pool, j)
		}
		if c.restart {
			first = w.worker(c.pool, c.pool+"-1", capFile, 1)
		}
		j := w.settled(id)
		if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_CANCELLED || len(j.Attempts) != 1 || w.alive(c.pool) {
			w.t.Errorf("%s: the cancelled job: %v", c.pool, j)
		}
		w.must(second.Stop())
		if c.restart {
			w.must(first.Stop())
		}
	}
}
