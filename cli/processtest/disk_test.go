package processtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// smallDisk is a file system of its own that can be filled.
type smallDisk struct {
	t   *testing.T
	dir string
}

// newSmallDisk mounts one of some mebibytes. The mount is seen by the tests and
// their processes only, and goes with them.
func newSmallDisk(t *testing.T, dir string, mebibytes int) *smallDisk {
	t.Helper()
	if !private {
		enginetest.Missing(t, "needs root, and unshare of util-linux: it mounts a small disk")
	}
	if err := errors.Join(os.Mkdir(filepath.Dir(dir), 0o755), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("weir", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mebibytes)); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return &smallDisk{t, dir}
}

// fill takes all the room that is left.
func (d *smallDisk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatalf("fill %s: %v", d.dir, err)
	}
}

func (d *smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *smallDisk) filler() string { return filepath.Join(d.dir, "filler") }

// TestFullDisk fills the disk of the leader, then those of all nodes: the first
// costs an office, the second all submits, with a word on why; nothing that was
// acknowledged is lost, and room is all that it takes to go on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	disks := map[string]*smallDisk{}
	for _, name := range []string{"n1", "n2", "n3"} {
		disks[name] = newSmallDisk(t, filepath.Join(dir, name, "data"), 64)
	}
	w := start(t, local.Config{Dir: dir})
	capFile := w.pool("p", nil)
	ci := w.client("ci")
	w.worker("p", "w1", capFile, 4)
	load := w.beginLoad(w.load(ci))
	load.advance(5)

	leader, _ := w.leader()
	disks[leader.Name].fill()
	took := w.until("the full node to give its office up", func() bool { n, _ := w.leader(); return n != leader })
	load.advance(5)
	t.Logf("%s gave its office up %v after its disk was full", leader.Name, took.Round(time.Millisecond))
	// Its log of commands is full, or that of builds, or both.
	w.until("weir status to say why", func() bool {
		out := w.ok(w.adminAt, "status")
		return strings.Contains(out, "("+leader.Name+"): ") && strings.Contains(out, "no space left on device")
	})
	disks[leader.Name].empty()
	took = w.until("the node to be ready again", func() bool { return w.status(leader).GetReady() })
	t.Logf("it was ready again %v after there was room", took.Round(time.Millisecond))
	load.advance(5)
	load.end()

	for _, d := range disks {
		d.fill()
	}
	w.submitUntilRefused(ci)
	a := w.weir(ci, "submit", "--pool", "p", "--retry-for", "5s", "--", "true")
	t.Logf("with all disks full a submit ended after %v with exit code %d: %s", a.took.Round(time.Millisecond), a.code, a.err)
	w.refused(a, 3, "no space left on device", "Make room on them")
	if a.took > 5*time.Second+answerWithin+crowd {
		t.Errorf("the submit took %v", a.took)
	}
	w.until("weir status to say why", func() bool { return strings.Contains(w.weir(w.adminAt, "status").out, "no space left on device") })
	for _, d := range disks {
		d.empty()
	}
	w.ok(ci, "submit", "--pool", "p", "--", "true")
	for _, n := range w.cluster.Nodes {
		w.until(n.Name+" to be ready", func() bool { return w.status(n).GetReady() })
		w.must(n.Process.Signal(syscall.Signal(0))) // none has died of it
	}
	if extra := w.ledger.verify(); extra != 0 {
		t.Errorf("%d attempts were repeated", extra)
	}
}

// submitUntilRefused uses up the room that the stores' files have inside, with
// builds of 30 KB and then with smaller ones. What is acknowledged is noted.
func (w *world) submitUntilRefused(ci string) {
	w.t.Helper()
	c, err := capability.Load(ci)
	w.must(err)
	cl, err := w.cluster.Client(c, client.Options{Patience: 3 * time.Second})
	w.must(err)
	defer cl.Close()
	for _, size := range []int{30_000, 3_000, 300} {
		err, made := error(nil), 0
		for ; err == nil && made < 2000; made++ {
			b := build{name: fmt.Sprintf("large-%d-%d", size, made), lines: 10, pause: "0"}
			var r *pb.SubmitReply
			if r, err = cl.Submit(w.ctx, submit("p", "sh", "-c", b.script(w.shared)+"#"+strings.Repeat("x", size))); err == nil {
				w.ledger.note(r.Job, b)
			}
		}
		if err == nil {
			w.t.Fatalf("disks that are full take submits of %d bytes for ever", size)
		}
		w.t.Logf("%d submits of %d bytes were acknowledged before one was refused", made-1, size)
	}
}

// TestFullWorkerDisk fills the disk of a worker's state. What runs goes on, with
// a log that says where it was cut off; nothing new is started, with a word on
// why, until there is room.
func TestFullWorkerDisk(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	disk := newSmallDisk(t, filepath.Join(dir, "full", "state"), 8)
	w := start(t, local.Config{Dir: dir})
	w.client("tests")
	capFile := w.pool("p", nil)
	worker := w.worker("p", "full", capFile, 2, "--min-free", "1000000")
	chatty := submit("p", "sh", "-c", fmt.Sprintf(`echo before; : >%[1]s/begun; while ! [ -e %[1]s/filled ]; do sleep 0.05; done
seq -f 'line %%.0f that the disk has no room for' 1 100000; while ! [ -e %[1]s/end ]; do sleep 0.05; done`, w.shared))
	chatty.Client = "tests"
	made, err := w.admin.Submit(w.ctx, chatty)
	w.must(err)
	w.until("the build", func() bool { return w.exists("begun") })

	disk.fill()
	w.touch("filled")
	w.until("the worker to say so", func() bool { return strings.Contains(workerLog(w, "full"), "nearly full") })
	next := w.waiting("p", "next")
	w.until("the next job's wait to be explained", func() bool {
		return strings.Contains(w.ok(w.adminAt, "job", "explain", fmt.Sprint(next)), "nearly full")
	})
	w.touch("end")
	j := w.settled(made.Job)
	if len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("the job that ran while the disk was full: %v", j)
	}
	text, err := w.readLog(w.admin, made.Job, 1)
	w.must(err)
	if !strings.HasPrefix(text, "Building on full\nbefore\n") || !strings.Contains(text, "[weir: the rest of this job's output was dropped: the disk of its worker is full]") ||
		!strings.HasSuffix(text, "\nJob succeeded\n") {
		t.Errorf("its log has %d bytes: %.100q ... %q", len(text), text, text[max(0, len(text)-200):])
	}
	if j := w.job(next); len(j.Attempts) != 0 {
		t.Errorf("a job was given to a worker whose disk is full: %v", j)
	}
	disk.empty()
	w.touch("next-1")
	if j := w.settled(next); len(j.Attempts) != 1 || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("the job that waited for room: %v", j)
	}
	w.must(worker.Stop())

	// A full disk at the start: an error, and no worker.
	w.must(os.Remove(filepath.Join(disk.dir, "instance-key")))
	disk.fill()
	worker = w.startWorker(nil, "p", "full", capFile, 2)
	if code, said := w.ends(worker), workerLog(w, "full"); code != 7 || !strings.Contains(said, "start worker: open instance key") || !strings.HasSuffix(said, ": no space left on device\n") || strings.Contains(said, "goroutine ") {
		t.Errorf("a worker that starts on a full disk: exit code %d: %s", code, said)
	}
}

func workerLog(w *world, name string) string {
	text, _ := os.ReadFile(filepath.Join(w.cluster.WorkerDir(name), "log"))
	return string(text)
}
