package processtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/cli/local"
)

// A custom job goes to a worker that has a program for its kind, and to no other;
// the program's output comes back.
func TestCustomJobs(t *testing.T) {
	w := start(t, local.Config{})
	workerCap, ci := w.pool("jobs", nil), w.client("ci")
	w.worker("jobs", "plain", workerCap, 4)
	program := func(name, script string) string {
		file := filepath.Join(w.shared, name)
		w.must(os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
		return file
	}
	payload := filepath.Join(w.shared, "payload")
	w.must(os.WriteFile(payload, []byte("to production\n"), 0o600))
	submit := func(kind string, more ...string) *command {
		return w.begin(ci, append([]string{"submit", "--pool", "jobs", "--kind", kind, "--payload", payload}, more...)...)
	}

	early := submit("deploy")
	w.until("the job to wait for its kind", func() bool {
		return early.err.has("no connected worker of the pool takes custom:deploy jobs")
	})
	w.startWorker(nil, "jobs", "tests", workerCap, 4, "--custom", "test="+program("test", "cat README"))
	w.worker("jobs", "deployer", workerCap, 4, "--custom", "deploy="+program("deploy", "echo deploying; cat; echo v1.2 >&3"))
	a := early.wait()
	w.says(a, "Building on deployer\ndeploying\nto production\nJob succeeded\n")
	if a.code != 0 || !strings.Contains(a.err, "output: v1.2\n") {
		t.Errorf("exit code %d\n%s", a.code, a.err)
	}
	r := newRepository(w)
	defer r.serve()()
	a = submit("test", "--repo", r.url(), "--commit", r.commit).wait()
	w.says(a, "\nhello from git\nJob succeeded\n")

	w.refused(submit("a/b").wait(), 4, "kind of job")
	w.refused(submit("deploy", "--", "true").wait(), 2, "runs no command")
}
