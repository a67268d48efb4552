package workerd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/proto/metricsdoc"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/logship"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/copystore"
	"github.com/weirbuild/weir/workerd/supervise"
)

// METRICS.md lists every metric that a worker has.
func TestTheMetricsAreDocumented(t *testing.T) {
	b := newBench(t)
	runner, err := supervise.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	var registry *prometheus.Registry
	build := func(e Env) (map[string]executor.Executor, error) {
		registry = e.Registerer.(*prometheus.Registry)
		_, err := gitsource.New(t.Context(), gitsource.Config{Dir: filepath.Join(e.StateDir, "git"), Runner: runner, Metrics: e.Registerer})
		if err != nil {
			return nil, err
		}
		store, err := copystore.Open(filepath.Join(e.StateDir, "trees"))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = store.Close() })
		_, err = obuilder.Open(obuilder.Config{Dir: filepath.Join(e.StateDir, "obuilder"), Store: store, Metrics: e.Registerer})
		return nil, err
	}
	w, err := Open(b.config(), build, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	_ = logship.Run(canceled(t), logship.Config{Spool: w.spool, Logger: hclog.NewNullLogger(), Registerer: registry})
	metricsdoc.Check(t, registry, "METRICS.md")
}

// Two workers on one machine, neither told where to serve its metrics: both run.
// An address that somebody chose is another matter.
func TestASecondWorkerGoesWithoutTheDefaultMetrics(t *testing.T) {
	taken, err := net.Listen("tcp", DefaultMetricsListen)
	if err == nil {
		defer taken.Close()
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	b := newBench(t)
	b.start(func(c *Config) { c.MetricsListen = DefaultMetricsListen })
	b.grant(1, "ok")
	b.result(1)

	chosen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer chosen.Close()
	cfg := b.config()
	cfg.StateDir, cfg.MetricsListen = filepath.Join(t.TempDir(), "state"), chosen.Addr().String()
	if _, err := Open(cfg, scripted(b.script), hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "--metrics-listen") {
		t.Errorf("a chosen address that is taken: %v", err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
