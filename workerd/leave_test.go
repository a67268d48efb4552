package workerd

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

// draining waits until the worker has told the leader.
func (b *bench) draining() {
	b.t.Helper()
	over := time.After(deadline)
	for {
		select {
		case m := <-b.Ups:
			if m.Status.GetDraining() && !m.Status.GetReady() {
				return
			}
		case <-over:
			b.t.Fatal("the worker does not say that it drains")
		}
	}
}

func TestADrainedWorkerEndsItsJobsFirst(t *testing.T) {
	b := newBench(t)
	b.start(func(c *Config) { c.DrainWait = deadline })
	b.grant(1, "wait")
	b.runs(1)
	b.worker.Drain()
	b.draining()
	b.grant(2, "wait") // it was on its way
	b.runs(2)
	close(b.script.release)
	for range 2 {
		m := <-b.Ups
		for len(m.Finished) == 0 {
			m = <-b.Ups
		}
		for _, f := range m.Finished {
			if f.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
				t.Errorf("lease %d: %v", f.Lease, f.Outcome)
			}
		}
		if len(m.Finished) == 2 {
			break
		}
	}
	select {
	case <-b.ended:
		t.Fatal("ended before its results were acknowledged")
	default:
	}
	b.ack(1)
	b.ack(2)
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
	for _, lease := range []uint64{1, 2} {
		if text, ok := b.logs.Sealed(lease); !ok {
			t.Errorf("ended with the log of lease %d unsealed: %q", lease, text)
		}
	}
}

func TestAnIdleWorkerDrainsAtOnce(t *testing.T) {
	b := newBench(t)
	b.start()
	b.worker.Drain()
	b.draining()
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
}

func TestASecondSignalKillsTheJobs(t *testing.T) {
	b := newBench(t)
	b.start(func(c *Config) { c.DrainWait = deadline })
	b.grant(1, "stubborn")
	b.runs(1)
	b.worker.Drain()
	b.draining()
	b.worker.Stop()
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_WORKER_ERROR || o.Message != "worker was shut down" {
		t.Errorf("outcome %v", o)
	}
	b.ack(1)
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
	if text, ok := b.logs.Sealed(1); !ok || !strings.Contains(text, "Job stopped by its worker") {
		t.Errorf("log %q, sealed %v", text, ok)
	}
}

func TestADrainDoesNotWaitForEverForTheCluster(t *testing.T) {
	b := newBench(t)
	b.start(func(c *Config) { c.DrainWait = 0 })
	b.grant(1, "ok")
	b.result(1)
	b.worker.Drain()
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
	b.start()
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("result after the restart: %v", o)
	}
	b.sealed(1)
}

func TestARevokedWorkerKillsItsJobsAndSaysWhy(t *testing.T) {
	b := newBench(t)
	b.start()
	b.grant(1, "stubborn")
	b.runs(1)
	node := b.cluster.Nodes[0]
	node.OnSession(sessiontest.Refuse(codes.Unauthenticated, reason.Unauthenticated, "the capability was revoked"))
	node.Kill()
	node.Start(t)
	var refused *RefusedError
	if err := b.stopped(); !errors.As(err, &refused) || refused.Reason != reason.Unauthenticated {
		t.Errorf("ended with %v", err)
	}
}

func TestALostClusterEndsNoJob(t *testing.T) {
	b := newBench(t)
	b.start()
	b.grant(1, "wait")
	b.runs(1)
	b.cluster.Nodes[0].Kill()
	b.until("the loss", func() bool { return b.worker.session.Link() == nil })
	close(b.script.release) // it ends while there is no cluster
	b.until("a stored result", func() bool { return b.worker.journal.Waiting() == 1 })
	b.cluster.Nodes[0].Start(t)
	if h := b.hello(); len(h.Running) != 0 || h.HighestLease != 1 {
		t.Errorf("hello %v", h)
	}
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("outcome %v", o)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	b := newBench(t)
	b.start(func(c *Config) { c.MetricsListen = "127.0.0.1:0" })
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + b.worker.http.lis.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(text)
	}
	b.until("readiness", func() bool { code, _ := get("/readyz"); return code == http.StatusOK })
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d", code)
	}
	b.grant(1, "ok")
	b.runs(1)
	b.result(1)
	_, text := get("/metrics")
	for _, line := range []string{`weir_worker_attempts_total{outcome="succeeded"} 1`, "weir_worker_connected 1", "weir_worker_slots 2",
		"weir_worker_results_waiting 1", "weir_worker_journal_flush_seconds_count"} {
		if !strings.Contains(text, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
	b.grant(2, "wait")
	b.runs(2)
	b.worker.Drain()
	b.until("unreadiness", func() bool {
		code, why := get("/readyz")
		return code == http.StatusServiceUnavailable && why == "draining\n"
	})
}
