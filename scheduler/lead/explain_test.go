package lead

import (
	"strings"
	"testing"
	"time"
)

// What is said of a worker that is not heard comes true, to the moment.
func TestExplainedSilence(t *testing.T) {
	t.Run("one of many", func(t *testing.T) {
		w := newWatchers()
		a, b := w.add("a", 2, true), w.add("b", 8, true)
		w.until(6*time.Second, b)
		if got := w.explain(a, w.now); got != "the worker was not heard for 6s; its lease holds for another 4s" {
			t.Error(got)
		}
		if _, at := w.until(time.Minute, b); len(at) != 1 || at[0] != 10*time.Second {
			t.Errorf("given up at %v", at)
		}
	})
	t.Run("after an election", func(t *testing.T) {
		w := newWatchers()
		a, b := w.add("a", 1, false), w.add("b", 8, true)
		w.until(6*time.Second, b)
		if got := w.explain(a, w.now); got != "the worker was not heard in the 6s since the last election; its lease holds for another 5s" {
			t.Error(got)
		}
		if _, at := w.until(time.Minute, b); len(at) != 1 || at[0] != 11*time.Second {
			t.Errorf("given up at %v", at)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		w := newWatchers()
		a := w.add("a", 4, true)
		w.until(6 * time.Second)
		if got := w.explain(a, w.now); !strings.HasSuffix(got, "holds for another 4s, and then for 10s more if as many workers stay silent") {
			t.Error(got)
		}
		w.until(12 * time.Second)
		if got := w.explain(a, w.now); !strings.HasSuffix(got, "was not heard for 12s; its lease holds for another 8s") {
			t.Error(got)
		}
		w.until(20*time.Second - interval)
		if len(a.leases) == 0 {
			t.Error("given up early")
		}
		w.now = 20 * time.Second // the leader is about to look
		if got := w.explain(a, w.now); !strings.HasSuffix(got, "its lease is about to be given up") {
			t.Error(got)
		}
		if v := w.check(w.now, interval); len(v.over) != 1 {
			t.Errorf("not given up: %+v", v)
		}
	})
}
