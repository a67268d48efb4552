package workerd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

const deadline = 20 * time.Second

// bench is a cluster of one node and a worker that may be started again.
type bench struct {
	*sessiontest.Leader
	t       *testing.T
	cluster *sessiontest.Cluster
	logs    *sessiontest.Logs
	dir     string
	script  *script
	build   Build // nil: scripted

	worker *Worker
	ended  chan struct{}
	err    error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	c := sessiontest.Start(t, 1)
	b := &bench{t: t, cluster: c, Leader: sessiontest.NewLeader(c.Addresses()...), logs: new(sessiontest.Logs), dir: t.TempDir(), script: newScript()}
	c.Nodes[0].OnSession(b.Serve)
	c.Nodes[0].OnShipLogs(b.logs.Serve)
	return b
}

func (b *bench) config() Config {
	b.t.Helper()
	cfg := Default()
	cfg.Connect, cfg.StateDir = b.cluster.Save(b.t, b.dir), filepath.Join(b.dir, "state")
	cfg.Name, cfg.Pool, cfg.Slots, cfg.AllowCommand, cfg.JobUser = "w", "p", 2, true, "nobody"
	cfg.DrainWait, cfg.MetricsListen = time.Second, ""
	if err := cfg.Complete(); err != nil {
		b.t.Fatal(err)
	}
	return cfg
}

// start runs a worker and waits for its hello.
func (b *bench) start(change ...func(*Config)) *pb.WorkerHello {
	b.t.Helper()
	cfg := b.config()
	for _, f := range change {
		f(&cfg)
	}
	build := b.build
	if build == nil {
		build = scripted(b.script)
	}
	w, err := Open(cfg, build, hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: testWriter{b.t}}))
	if err != nil {
		b.t.Fatal(err)
	}
	b.worker, b.ended = w, make(chan struct{})
	ctx, cancel := context.WithCancel(b.t.Context())
	go func() {
		defer close(b.ended)
		b.err = w.Run(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		b.cluster.Nodes[0].Kill()
		<-b.ended
	})
	return b.hello()
}

func (b *bench) hello() *pb.WorkerHello {
	b.t.Helper()
	select {
	case h := <-b.Hellos:
		return h
	case <-time.After(deadline):
		b.t.Fatal("no hello")
		return nil
	}
}

func (b *bench) grant(lease uint64, what string) {
	b.t.Helper()
	b.grantSpec(lease, &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{what}}}})
}

func (b *bench) grantSpec(lease uint64, spec *pb.JobSpec) {
	b.t.Helper()
	bytes, err := proto.Marshal(spec)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(&pb.NodeMessage{Grants: []*pb.Grant{{Lease: lease, Job: 100 + lease, Attempt: 1, Pool: "p", Spec: bytes}}})
}

func (b *bench) stop(lease uint64, why pb.StopReason) {
	b.t.Helper()
	b.send(&pb.NodeMessage{Stops: []*pb.Stop{{Lease: lease, Reason: why}}})
}

// heard waits until the worker has taken in all that was sent to it.
func (b *bench) heard() {
	b.t.Helper()
	b.send(&pb.NodeMessage{Probe: &pb.Probe{Nonce: 1}})
	for m := range b.Ups {
		if m.ProbeReply != nil {
			return
		}
	}
}

func (b *bench) ack(lease uint64) {
	b.t.Helper()
	b.send(&pb.NodeMessage{FinishAcks: []*pb.FinishAck{{Lease: lease, Recorded: true}}})
}

func (b *bench) send(m *pb.NodeMessage) {
	b.t.Helper()
	if err := b.Send(m); err != nil {
		b.t.Fatal(err)
	}
}

// runs waits until the job of a lease has begun.
func (b *bench) runs(lease uint64) {
	b.t.Helper()
	select {
	case got := <-b.script.started:
		if got != lease {
			b.t.Fatalf("lease %d was started, want %d", got, lease)
		}
	case <-time.After(deadline):
		b.t.Fatalf("lease %d was not started", lease)
	}
}

// result waits for the report of a lease and fails on that of another.
func (b *bench) result(lease uint64) *pb.Outcome {
	b.t.Helper()
	over := time.After(deadline)
	for {
		select {
		case m := <-b.Ups:
			if len(m.Finished) == 0 {
				continue
			}
			f := m.Finished[0]
			if f.Lease != lease {
				b.t.Fatalf("result of lease %d, want one of %d: %v", f.Lease, lease, f.Outcome)
			}
			return f.Outcome
		case <-over:
			b.t.Fatalf("no result of lease %d", lease)
		}
	}
}

func (b *bench) sealed(lease uint64) (text string) {
	b.t.Helper()
	b.until("a sealed log", func() (ok bool) {
		text, ok = b.logs.Sealed(lease)
		return ok
	})
	return text
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(deadline)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			b.t.Fatalf("waited %v for %s", deadline, what)
		}
	}
}

// stopped waits for the end of the worker and returns what Run did.
func (b *bench) stopped() error {
	b.t.Helper()
	select {
	case <-b.ended:
		return b.err
	case <-time.After(deadline):
		b.t.Fatal("the worker goes on")
		return nil
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p[:len(p)-1])
	return len(p), nil
}

func TestAJobFromGrantToAcknowledgement(t *testing.T) {
	b := newBench(t)
	if h := b.start(); !slices.Equal(h.Kinds, []string{"command"}) {
		t.Errorf("the worker says that it takes jobs of the kinds %q", h.Kinds)
	}
	b.grant(1, "ok")
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("outcome %v", o)
	}
	if text := b.sealed(1); text != "Building on w\noutput of 101\nJob succeeded\n" {
		t.Errorf("log %q", text)
	}
	b.ack(1)
	b.until("an empty worker", func() bool {
		logs, _, _ := b.worker.spool.Usage()
		return logs == 0 && b.worker.journal.Waiting() == 0
	})
}

func TestHowJobsEnd(t *testing.T) {
	b := newBench(t)
	b.start()
	for i, c := range []struct {
		what, message, log string
		kind               pb.OutcomeKind
	}{
		{"fail", "exit code 7 ...", "Job failed", pb.OutcomeKind_OUTCOME_FAILED},
		{"break", "clone repository: no route to host", "Job stopped by its worker", pb.OutcomeKind_OUTCOME_WORKER_ERROR},
		{"panic", "executor panicked: a bug ...", "", pb.OutcomeKind_OUTCOME_WORKER_ERROR},
	} {
		lease := uint64(i + 1)
		b.grant(lease, c.what)
		b.runs(lease)
		if o := b.result(lease); o.Kind != c.kind || o.Message != c.message {
			t.Errorf("%s: outcome %v", c.what, o)
		}
		if text := b.sealed(lease); !strings.Contains(text, c.log) {
			t.Errorf("%s: log %q", c.what, text)
		}
		b.ack(lease)
	}
}

func TestWhatCannotRunIsRefusedAndItsLogSaysWhy(t *testing.T) {
	b := newBench(t)
	b.start()
	b.grantSpec(1, &pb.JobSpec{})
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_WORKER_ERROR || !strings.Contains(o.Message, "does not run jobs of kind unknown") {
		t.Errorf("outcome %v", o)
	}
	if text := b.sealed(1); !strings.Contains(text, "does not run jobs of kind unknown") {
		t.Errorf("log %q", text)
	}
	b.grant(2, "wait")
	b.grant(3, "wait")
	b.runsBoth(2, 3)
	b.grant(4, "ok")
	if o := b.result(4); o.Kind != pb.OutcomeKind_OUTCOME_WORKER_ERROR || !strings.Contains(o.Message, "no free slot") {
		t.Errorf("outcome %v", o)
	}
}

func (b *bench) runsBoth(x, y uint64) {
	b.t.Helper()
	got := []uint64{<-b.script.started, <-b.script.started}
	slices.Sort(got)
	if !slices.Equal(got, []uint64{x, y}) {
		b.t.Fatalf("started %v", got)
	}
}

func TestALeaseIsNeverStartedTwice(t *testing.T) {
	b := newBench(t)
	b.start()
	b.grant(1, "wait")
	b.runs(1)
	b.grant(1, "wait") // while it runs
	b.heard()
	close(b.script.release)
	b.result(1)
	b.grant(1, "wait") // while its result waits
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("repeated result %v", o)
	}
	b.ack(1)
	b.until("the acknowledgement", func() bool { return b.worker.journal.Waiting() == 0 })
	b.grant(1, "wait") // when all is over
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_WORKER_RESTARTED {
		t.Errorf("answer to a lease that is over: %v", o)
	}
	b.worker.Stop()
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.grant(1, "wait") // after a restart
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_WORKER_RESTARTED {
		t.Errorf("answer after a restart: %v", o)
	}
	b.grant(2, "ok")
	b.runs(2)
}

func TestACancelledJobEndsPolitely(t *testing.T) {
	b := newBench(t)
	b.start()
	b.grant(1, "wait")
	b.runs(1)
	b.stop(1, pb.StopReason_STOP_CANCELLED)
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_CANCELLED {
		t.Errorf("outcome %v", o)
	}
	if text := b.sealed(1); !strings.HasSuffix(text, "Job cancelled\n") {
		t.Errorf("log %q", text)
	}
}

func TestAFencedJobDiesAndReportsNothing(t *testing.T) {
	b := newBench(t)
	b.start()
	b.grant(1, "stubborn")
	b.runs(1)
	b.stop(1, pb.StopReason_STOP_CANCELLED) // it does not listen
	b.stop(1, pb.StopReason_STOP_FENCED)    // this ends its grace
	b.until("its end", func() bool { n, _ := b.worker.table.load(); return n == 0 })
	b.grant(2, "ok")
	b.runs(2)
	b.result(2) // fails on a result of lease 1
	if n := b.worker.journal.Waiting(); n != 1 {
		t.Errorf("%d results wait, want that of lease 2", n)
	}
	b.stop(2, pb.StopReason_STOP_FENCED) // a stored result is dropped too
	b.until("no result", func() bool { return b.worker.journal.Waiting() == 0 })
}

func TestASecondWorkerOnTheSameStateIsRefused(t *testing.T) {
	b := newBench(t)
	b.start()
	_, err := Open(b.config(), scripted(b.script), hclog.NewNullLogger())
	if err == nil || !strings.Contains(err.Error(), "another worker (pid") {
		t.Errorf("second worker: %v", err)
	}
}

func TestTheIdentityOutlivesARestart(t *testing.T) {
	b := newBench(t)
	first := b.start()
	b.until("the cluster's addresses", func() bool {
		_, err := os.Stat(filepath.Join(b.dir, "state", clusterFile))
		return err == nil
	})
	b.worker.Stop()
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
	second := b.start()
	if len(first.InstanceKey) != keySize || string(first.InstanceKey) != string(second.InstanceKey) {
		t.Error("another instance key")
	}
	if first.BootId == second.BootId {
		t.Error("the same boot id")
	}
	for _, name := range []string{keyFile, clusterFile, "journal"} {
		info, err := os.Stat(filepath.Join(b.dir, "state", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if got := b.worker.state.cluster; got.ID != "c1" || !slices.Equal(got.Addresses, b.cluster.Addresses()) {
		t.Errorf("stored cluster %+v", got)
	}
}

func TestAStateDirectoryThatOthersCanReachIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("opened: %v", err)
	}
}
