package workerd

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// process is a worker in a process of its own.
type process struct {
	*exec.Cmd
	done chan struct{}
}

func (b *bench) startProcess() (*process, *pb.WorkerHello) {
	b.t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	p.Env = append(os.Environ(), envRole+"="+roleWorker,
		"WEIR_TEST_CAP="+b.cluster.Save(b.t, b.dir), "WEIR_TEST_STATE="+filepath.Join(b.dir, "state"))
	stderr, err := p.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			b.t.Log(lines.Text())
		}
		_ = p.Wait() // killed, most of the time
	}()
	b.t.Cleanup(func() {
		_ = p.Process.Kill() // it may have ended
		<-p.done
	})
	return p, b.hello()
}

// begun waits until the worker process has started a lease's job.
func (b *bench) begun(lease uint64) {
	b.t.Helper()
	for m := range b.Ups {
		for _, l := range m.Started {
			if l == lease {
				return
			}
		}
	}
}

func TestAKilledWorkerGivesUpItsAttemptsAndDeliversItsResults(t *testing.T) {
	b := newBench(t)
	p, first := b.startProcess()
	b.grant(1, "ok")
	b.result(1) // never acknowledged
	b.grant(2, "wait")
	b.begun(2)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	second := b.start()
	if len(second.Running) != 0 || second.HighestLease != 2 || second.BootId == first.BootId {
		t.Errorf("hello after the restart: %v", second)
	}
	got := map[uint64]*pb.Outcome{}
	for len(got) < 2 {
		for _, f := range (<-b.Ups).Finished {
			got[f.Lease] = f.Outcome
		}
	}
	if got[1].Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("stored result: %v", got[1])
	}
	if got[2].Kind != pb.OutcomeKind_OUTCOME_WORKER_RESTARTED || got[2].Message != "worker restarted" {
		t.Errorf("interrupted attempt: %v", got[2])
	}
	if text := b.sealed(2); !strings.HasPrefix(text, "Building on w\n") || !strings.HasSuffix(text, "\n\nJob stopped by its worker: worker restarted\n") {
		t.Errorf("log of the interrupted attempt: %q", text)
	}
	b.sealed(1)
}

func TestAStoppedWorkerIsFencedWhenItGoesOn(t *testing.T) {
	b := newBench(t)
	p, first := b.startProcess()
	b.grant(1, "wait")
	b.begun(1)
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * time.Second) // the stop itself: the lease passes to another worker meanwhile
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	again := b.hello()
	if again.BootId != first.BootId || len(again.Running) != 1 || again.Running[0].Lease != 1 {
		t.Fatalf("hello after SIGCONT: %v", again)
	}
	b.stop(1, pb.StopReason_STOP_FENCED)
	b.until("a heartbeat without the job", func() bool { _, running := b.Beats(); return len(running) == 0 })
	b.grant(2, "ok")
	b.result(2) // fails on a result of lease 1
}

func TestTheCapabilityLeavesTheProcess(t *testing.T) {
	b := newBench(t)
	secret := b.cluster.Capability(t)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), envRole+"="+roleEnviron, EnvCapability+"="+secret.Reveal(), "WEIR_TEST_LAST=still here")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), secret.Token().Reveal()) {
		t.Error("the process still shows its token")
	}
	if !strings.Contains(string(out), "WEIR_TEST_LAST=still here") {
		t.Errorf("the rest of the environment is gone: %q", out)
	}
}
