package processtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// OBuilder jobs go to workers that know the language, copy from the checkout, and
// are built from what the worker kept; a cancelled one leaves nothing.
func TestOBuilderJobs(t *testing.T) {
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	w := start(t, local.Config{})
	workerCap, ci := w.pool("images", nil), w.client("ci")
	w.worker("images", "plain", workerCap, 4)
	build := func(spec string, more ...string) *command {
		file := filepath.Join(w.shared, "job.spec")
		w.must(os.WriteFile(file, []byte("((from busybox) (shell /bin/sh -c)\n"+spec+")"), 0o600))
		return w.begin(ci, append([]string{"submit", "--pool", "images", "--obuilder", file}, more...)...)
	}

	early := build(`(run (shell "echo ok"))`)
	w.until("the job to wait for a worker that knows OBuilder", func() bool { return early.err.has("no connected worker of the pool takes obuilder jobs") })
	w.worker("images", "builder", workerCap, 4, "--allow-obuilder", "--registry-mirror", "docker.io=http://"+enginetest.ServeBusybox(t))
	if a := early.wait(); a.code != 0 || !strings.Contains(a.out, "Building on builder\n(from busybox)\n") {
		t.Errorf("exit code %d\n%s%s", a.code, a.err, a.out)
	}

	r := newRepository(w)
	defer r.serve()()
	steps := `(copy (src .) (dst /src/)) (run (shell "ls -A /src; cat /src/README"))`
	for _, c := range []struct{ commit, note, base string }{
		{r.commit, "hello from git\n---> saved as", "from cache"}, // the early job brought the base
		{r.commit, "hello from git\n---> using", "from cache"},
		{r.next(), "hello again\n---> saved as", "from cache"},
	} {
		a := build(steps, "--repo", r.url(), "--commit", c.commit).wait()
		if a.code != 0 || !strings.Contains(a.out, "\nREADME\n"+c.note) || !strings.Contains(a.out, c.base) {
			t.Errorf("exit code %d\n%s%s", a.code, a.err, a.out)
		}
	}

	a := build(`(run (shell "exit 9"))`).wait()
	w.refused(a, 1, "line 2: the command exited with code 9")
	w.refused(build(`(rnu x)`).wait(), 2, "job.spec:2:1: unknown operation rnu")
	w.refused(build(`(run (secrets (pw (target /pw))) (shell true))`).wait(), 2, "the spec needs secret pw")
	w.refused(build(`(copy (src f) (dst /f))`).wait(), 1, "there is no context to copy from")

	slow := build(`(run (shell "echo begun; sleep 100000"))`)
	w.until("the build to run", func() bool { return slow.out.has("\nbegun\n") })
	slow.signal(syscall.SIGINT)
	w.refused(slow.wait(), 5)
	left, err := os.ReadDir(filepath.Join(w.cluster.WorkerDir("builder"), "state", "obuilder", "sandbox", "state"))
	if err != nil || len(left) != 0 {
		t.Errorf("containers are left: %v, %v", left, err)
	}
}
