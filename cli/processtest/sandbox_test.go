package processtest

import (
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// A command runs on an image, in the checkout, on a worker that takes such jobs;
// what it may use, and how it ended, comes back to who submitted it.
func TestSandboxJobs(t *testing.T) {
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	w := start(t, local.Config{})
	workerCap, ci := w.pool("images", nil), w.client("ci")
	w.worker("images", "plain", workerCap, 4)
	w.worker("images", "boxes", workerCap, 4, "--allow-sandbox", "--registry-mirror", "docker.io=http://"+enginetest.ServeBusybox(t))
	run := func(script string, more ...string) *command {
		argv := append([]string{"submit", "--pool", "images", "--image", "busybox"}, more...)
		return w.begin(ci, append(argv, "--", "sh", "-c", script)...)
	}

	r := newRepository(w)
	defer r.serve()()
	a := run(`cat README; cat .git/HEAD; pwd; stat -c %u README; echo "$A"; ls /sys/class/net`, "--repo", r.url(), "--commit", r.commit, "--env", "A=b").wait()
	w.says(a, "hello from git\n"+r.commit+"\n/workspace\n0\nb\nlo\nJob succeeded\n")
	w.refused(run("exit 9").wait(), 1, "the program exited with code 9")
	w.refused(run("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", "--memory", "32MiB", "--cpu", "0.5").wait(), 1, "more memory than its limit")
	w.refused(run("true", "--memory", "1KiB").wait(), 4, "bytes of memory")
	w.refused(run("true", "--network", "bridge").wait(), 4, "use none or host")
	w.refused(w.begin(ci, "submit", "--pool", "images", "--image", "busybox").wait(), 2, "needs a command")
	w.refused(w.begin(ci, "submit", "--pool", "images", "--memory", "1GiB", "--", "true").wait(), 2, "--memory has no effect with a command")

	// A line of a gigabyte harms nobody: the log is cut off, and the job goes on.
	a = run("dd if=/dev/zero bs=1048576 count=1024; exit 4", "--log-limit", "1MiB").wait()
	w.refused(a, 1, "the program exited with code 4")
	if len(a.out) > 2<<20 {
		t.Errorf("%d bytes of a log that is limited to 1 MiB", len(a.out))
	}

	slow := run("trap 'echo tidied; exit' TERM; echo begun; while :; do sleep 0.1; done")
	w.until("the command to run", func() bool { return slow.out.has("\nbegun\n") })
	slow.signal(syscall.SIGINT)
	a = slow.wait()
	w.refused(a, 5)
	w.says(a, "\ntidied\n")
}

// says checks that a text is in the output of a command.
func (w *world) says(a answer, part string) {
	w.t.Helper()
	if !strings.Contains(a.out, part) {
		w.t.Errorf("exit code %d, and it does not say %q:\n%s%s", a.code, part, a.err, a.out)
	}
}
