package processtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// A worker that cannot build takes no new jobs, says why, and goes on by itself once
// it is mended.
func TestAWorkerThatCannotBuild(t *testing.T) {
	w := start(t, local.Config{})
	workerCap, _ := w.pool("p", nil), w.client("tests")
	w.worker("p", "sick", workerCap, 4, "--health-check", "1s")

	// Somebody has moved the directory of checkouts.
	work := filepath.Join(w.cluster.WorkerDir("sick"), "state-work")
	w.must(os.Rename(work, work+".moved"))
	w.until("the worker to be found sick", func() bool { return w.workerState("p", "sick") == "not ready" })
	next := w.waiting("p", "next")
	why := "its health check of command jobs fails: "
	if shown := w.ok(w.adminAt, "worker", "show", "p", "sick"); !regexp.MustCompile(`(?s)\nstate +not ready\nwhy +its health check of command jobs fails.*\ntakes +command\n`).MatchString(shown) {
		t.Errorf("weir worker show:\n%s", shown)
	}
	w.until("the next job's wait to be explained", func() bool {
		return strings.Contains(w.ok(w.adminAt, "job", "explain", fmt.Sprint(next)), why)
	})
	w.until("the worker's log to say so", func() bool { return strings.Contains(workerLog(w, "sick"), `takes no new jobs: why="`+why) })
	if j := w.job(next); len(j.Attempts) != 0 {
		t.Errorf("a job was given to a worker that cannot build: %v", j)
	}

	w.must(os.Rename(work+".moved", work))
	w.touch("next-1")
	if j := w.settled(next); len(j.Attempts) != 1 {
		t.Errorf("the job that waited: %v", j)
	}
}

// A container runtime that is broken pauses a worker that needs it, and no registry is
// needed to find that out.
func TestAWorkerWhoseRuntimeIsBroken(t *testing.T) {
	enginetest.NeedRoot(t)
	runc := enginetest.Need(t, "runc", "runc")
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	w := start(t, local.Config{})
	workerCap := w.pool("p", nil)
	own := filepath.Join(bin, "runc")
	w.must(os.Symlink(runc, own))
	w.worker("p", "boxes", workerCap, 4, "--allow-sandbox", "--allow-obuilder", "--health-check", "1s")
	w.must(os.Remove(own))
	w.must(os.WriteFile(own, []byte("#!/bin/sh\necho 'this runc is broken' >&2; exit 1\n"), 0o755))
	w.until("the worker to be found sick", func() bool { return w.workerState("p", "boxes") == "not ready" })
	if listed := w.ok(w.adminAt, "worker", "list"); !strings.Contains(listed, " KINDS\n") || !strings.Contains(listed, "  command,obuilder +1\n") {
		t.Errorf("weir worker list:\n%s", listed)
	}
	w.until("the worker's log to say so", func() bool {
		said := workerLog(w, "boxes")
		return strings.Contains(said, "its health check of obuilder jobs fails: ") && strings.Contains(said, "this runc is broken")
	})
	w.must(os.Remove(own))
	w.must(os.Symlink(runc, own))
	w.until("the worker to be well again", func() bool { return w.workerState("p", "boxes") == "ready" })
}
