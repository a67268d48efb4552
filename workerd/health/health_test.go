package health

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// The program runs on this machine, without any other file.
func TestProgram(t *testing.T) {
	text, ok := Program()
	if !ok {
		t.Skip("no program is known for this architecture")
	}
	file := filepath.Join(t.TempDir(), "true")
	if err := os.WriteFile(file, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v, it says %q", err, out)
	}
}

// What fails is told until it is mended, and looked at more often; nobody who asks
// waits for a build.
func TestAFailureIsToldUntilItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		var builds, changes atomic.Int32
		gate := make(chan struct{})
		reg := prometheus.NewRegistry()
		h := New(Config{Every: time.Hour, Log: hclog.NewNullLogger(), Registerer: reg, Changed: func() { changes.Add(1) }, Kinds: []Kind{
			{"fine", func(context.Context) error { return nil }},
			{"other", func(ctx context.Context) error {
				builds.Add(1)
				<-gate
				if broken.Load() {
					return errors.New("the daemon is away")
				}
				return nil
			}}}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); h.Run(ctx) }()
		synctest.Wait()
		if h.Why() != "its first health check has not ended yet" {
			t.Errorf("while the first check runs: %q", h.Why())
		}
		close(gate)
		synctest.Wait()
		if h.Why() != "" || changes.Load() != 1 {
			t.Errorf("after the first check: %q, %d changes", h.Why(), changes.Load())
		}
		broken.Store(true)
		<-time.After(time.Hour + time.Second)
		if want := "its health check of other jobs fails: the daemon is away"; h.Why() != want || changes.Load() != 2 {
			t.Errorf("when it fails: %q, want %q, %d changes", h.Why(), want, changes.Load())
		}
		if got := gauges(t, reg); !maps.Equal(got, map[string]float64{"fine": 1, "other": 0}) {
			t.Errorf("the metric: %v", got)
		}
		broken.Store(false)
		<-time.After(retry)
		synctest.Wait()
		if h.Why() != "" || changes.Load() != 3 || builds.Load() != 3 {
			t.Errorf("when it is mended: %q, %d changes, %d builds", h.Why(), changes.Load(), builds.Load())
		}
		cancel()
		<-ended
	})
}

// gauges are the values of the metric, by kind.
func gauges(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "weir_worker_health_check_passed" {
		t.Fatalf("the metrics: %v, %v", families, err)
	}
	got := map[string]float64{}
	for _, m := range families[0].Metric {
		got[m.Label[0].GetValue()] = m.Gauge.GetValue()
	}
	return got
}

// A build that hangs is a failure; the worker's end is none.
func TestABuildThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Every: time.Hour, Log: hclog.NewNullLogger(), Kinds: []Kind{{"stuck", func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); h.Run(ctx) }()
		<-time.After(limit)
		synctest.Wait()
		want := "its health check of stuck jobs fails: a trivial build takes longer than 2m0s"
		if h.Why() != want {
			t.Errorf("it says %q", h.Why())
		}
		<-time.After(retry)
		cancel()
		<-ended
		if h.Why() != want {
			t.Errorf("after its end it says %q", h.Why())
		}
	})
}

func TestNoChecks(t *testing.T) {
	h := New(Config{Kinds: []Kind{{"broken", func(context.Context) error { return errors.New("x") }}}})
	h.Run(t.Context())
	if h.Why() != "" {
		t.Errorf("it says %q", h.Why())
	}
}
