package processtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// A Dockerfile is built from the checkout and the image pushed; its name with the
// digest comes back to who submitted the job, and stays in the job's history.
func TestDockerJobs(t *testing.T) {
	enginetest.NeedRoot(t)
	registry := enginetest.ServeBusybox(t)
	daemon := dockertest.StartBuildKit(t, registry)
	t.Setenv("PATH", daemon.Bin+":"+os.Getenv("PATH"))
	w := start(t, local.Config{})
	workerCap, ci := w.pool("images", nil), w.client("ci")
	w.worker("images", "plain", workerCap, 4)
	build := func(text string, more ...string) *command {
		file := filepath.Join(w.shared, "Dockerfile")
		w.must(os.WriteFile(file, []byte(text), 0o600))
		return w.begin(ci, append([]string{"submit", "--pool", "images", "--dockerfile-from", file}, more...)...)
	}

	early := build("FROM busybox\nARG A\nRUN echo ok $A\n", "--build-arg", "A=b")
	w.until("the job to wait for a worker with an engine", func() bool { return early.err.has("no connected worker of the pool takes docker jobs") })
	w.worker("images", "builder", workerCap, 4, "--docker", "buildkit", "--buildkit-addr", daemon.Addr, "--allow-push", registry+"/team")
	a := early.wait()
	w.says(a, "\nok b\nJob succeeded\n")

	r := newRepository(w)
	defer r.serve()()
	a = build("FROM busybox\nCOPY . /src/\nRUN ls -A /src; cat /src/README\n", "--repo", r.url(), "--commit", r.commit, "--push", registry+"/team/app:1").wait()
	w.says(a, "\nREADME\nhello from git\n")
	pushed := regexp.MustCompile(`output: (` + registry + `/team/app@sha256:[0-9a-f]{64})\n`).FindStringSubmatch(a.err)
	if a.code != 0 || pushed == nil {
		t.Fatalf("exit code %d\n%s%s", a.code, a.err, a.out)
	}
	id := regexp.MustCompile(`job (\d+) `).FindStringSubmatch(a.err)[1]
	if shown := w.ok(w.adminAt, "job", "show", id); !strings.Contains(shown, pushed[1]) {
		t.Errorf("the history does not have %s:\n%s", pushed[1], shown)
	}

	w.refused(build("FROM busybox\n", "--push", registry+"/other:1").wait(), 1, "this worker allows no push to "+registry+"/other")
	w.refused(build("FROM busybox\nRUN exit 9\n").wait(), 1, "exit code: 9")
	w.refused(build(" ").wait(), 4, "Dockerfile is empty")
	w.refused(w.begin(ci, "submit", "--pool", "images", "--dockerfile", "Dockerfile").wait(), 4, "has no repository")
	w.refused(build("FROM busybox\n", "--image", "busybox").wait(), 2, "two kinds of job")
	w.refused(build("FROM busybox\n", "--memory", "1GiB").wait(), 2, "--memory has no effect with --dockerfile-from")

	slow := build("FROM busybox\nRUN echo begun; sleep 100000\n")
	w.until("the build to run", func() bool { return slow.out.has("\nbegun\n") })
	slow.signal(syscall.SIGINT)
	w.refused(slow.wait(), 5)
}
