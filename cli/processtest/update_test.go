package processtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// testUpdate: workers update themselves in turn, each as the process that it was,
// while a build goes on and the leader dies; a canary that fails keeps the others
// from it; a worker without a command is never told.
func testUpdate(w *world) {
	capFile := w.pool("update", nil)
	updates := filepath.Join(w.cluster.Dir, "updates")
	script := filepath.Join(w.cluster.Dir, "update-worker")
	install := func(body string) {
		w.must(os.WriteFile(script+".new", []byte("#!/bin/sh\n"+body), 0o755))
		w.must(os.Rename(script+".new", script))
	}
	install("echo $PPID \"$*\" >>" + updates + "\nenv | grep -c '^WEIR_C' >>" + updates + "\ntrue\n")
	var pids []string
	for _, name := range []string{"u1", "u2", "u3"} {
		p := w.worker("update", name, capFile, 1, "--update-command", script)
		pids = append(pids, strconv.Itoa(p.Pid()))
	}
	job := w.waiting("update", "job")
	busy := w.attempt(job, 1).Worker

	c := w.begin(w.adminAt, "worker", "update", "update", "--parallel", "1")
	w.until("the wait for the build", func() bool { return c.err.has(busy + " waits for 1 job\n") })
	leader, _ := w.leader()
	w.kill(leader)
	w.until("the worker to be back", func() bool { return w.workerState("update", busy) == "draining" })
	w.revive(leader)
	w.touch("job-1")
	if a := c.wait(); a.code != 0 || !strings.Contains(a.err, "3 workers of 3 of pool update updated") ||
		strings.Count(a.err, "is back, with the same release") != 3 {
		w.t.Errorf("update: exit code %d, %s", a.code, a.err)
	}
	if j := w.settled(job); j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 1 {
		w.t.Errorf("the job that ran: %v", j)
	}
	text, err := os.ReadFile(updates)
	w.must(err)
	for _, pid := range pids {
		if strings.Count(string(text), pid+" \n0\n") != 1 {
			w.t.Errorf("process %s did not update once, without arguments and capability: %q", pid, text)
		}
	}

	install("echo one; echo no such release >&2; exit 3\n")
	a := w.weir(w.adminAt, "worker", "update", "update", "u2", "u3")
	w.refused(a, 7, "is back as it was: the update failed", "exit status 3: no such release", "1 other was not begun")
	if a.err != "" && strings.Contains(a.err, "u3 ") {
		w.t.Errorf("the other was begun: %s", a.err)
	}
	install("exit 0\n")
	w.ok(w.adminAt, "worker", "update", "update", "u2")
	if k, err := w.findWorker("update", "u2"); err != nil || k.UpdateError != "" {
		w.t.Errorf("after a good update: %v, %v", k, err)
	}
	w.worker("update", "u4", capFile, 1)
	w.refused(w.weir(w.adminAt, "worker", "update", "update"), 4, "u4 of pool update takes no updates", "--update-command")
	w.refused(w.weir(w.adminAt, "worker", "update", "update", "u9"), 4, `no worker "u9"`)
}
