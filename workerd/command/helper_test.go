package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/supervise"
)

const nobody = 65534

func TestMain(m *testing.M) {
	supervise.Main()
	if os.Getenv(roleVar) != "" {
		roleWorker()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// jobUser is who runs jobs in these tests.
func jobUser() *supervise.User {
	if os.Geteuid() != 0 {
		return nil
	}
	return &supervise.User{Name: "nobody", UID: nobody, GID: nobody}
}

// openDir is a temporary directory that every user may pass.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func modes() []supervise.Mode {
	if os.Geteuid() == 0 {
		return []supervise.Mode{supervise.Namespace, supervise.Subreaper}
	}
	return []supervise.Mode{supervise.UserNamespace, supervise.Subreaper}
}

func eachMode(t *testing.T, test func(t *testing.T, r *supervise.Runner)) {
	t.Helper()
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			r := &supervise.Runner{Mode: m}
			t.Cleanup(r.Close)
			test(t, r)
		})
	}
}

// newExecutor makes one whose state directory is beside its work directory.
func newExecutor(t testing.TB, r *supervise.Runner, change ...func(*Config)) *Executor {
	t.Helper()
	base := openDir(t)
	state := filepath.Join(base, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	source, err := gitsource.New(t.Context(), gitsource.Config{Dir: filepath.Join(state, "git"), Runner: r, JobUser: jobUser()})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{WorkDir: filepath.Join(base, "work"), Runner: r, Source: source, JobUser: jobUser(), Hide: []string{state}}
	for _, f := range change {
		f(&c)
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var leases atomic.Uint64

func task(spec *pb.JobSpec) executor.Task {
	return executor.Task{Lease: leases.Add(1), Job: "j-7", Attempt: 2, Pool: "linux", Spec: spec}
}

// script is a job in /bin/sh.
func script(text string, env ...*pb.EnvVar) *pb.JobSpec {
	return &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"/bin/sh", "-c", text}, Env: env}}}
}

func run(t *testing.T, e executor.Executor, spec *pb.JobSpec) (*pb.Outcome, string) {
	t.Helper()
	var log bytes.Buffer
	outcome, err := e.Run(t.Context(), task(spec), &log)
	if err != nil {
		t.Fatalf("%v; log %q", err, log.String())
	}
	return outcome, log.String()
}

func wantFailed(t *testing.T, o *pb.Outcome, words string) {
	t.Helper()
	if o.GetKind() != pb.OutcomeKind_OUTCOME_FAILED || !strings.Contains(o.GetMessage(), words) {
		t.Errorf("got %v, want FAILED with %q", o, words)
	}
}

// wantNothingLeft checks that an executor's work directory is empty.
func wantNothingLeft(t *testing.T, e *Executor) {
	t.Helper()
	entries, err := os.ReadDir(e.work)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in the work directory: %v, %v", entries, err)
	}
}

// whenReady is a log that does something at its first write.
type whenReady struct {
	once sync.Once
	do   func()
	bytes.Buffer
}

func (w *whenReady) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), "ready") {
		w.once.Do(w.do)
	}
	return n, err
}

const (
	roleVar = "COMMAND_TEST_ROLE"
	secret  = "weir-secret-7f3a"
)

// roleWorker is a worker whose environment and state directory hold a secret. It
// runs one job and prints what that printed.
func roleWorker() {
	base, mode := os.Getenv("BASE"), supervise.Namespace
	if os.Getenv(roleVar) == supervise.Subreaper.String() {
		mode = supervise.Subreaper
	}
	r := &supervise.Runner{Mode: mode}
	defer r.Close()
	e, err := New(Config{WorkDir: filepath.Join(base, "work"), Runner: r, JobUser: jobUser(), Hide: []string{filepath.Join(base, "state")}})
	if err != nil {
		fmt.Println("broken:", err)
		return
	}
	outcome, err := e.Run(context.Background(), task(script(os.Getenv("SCRIPT"))), os.Stdout)
	fmt.Println("outcome", outcome.GetKind(), err)
}

// startWorker starts this binary as roleWorker.
func startWorker(t *testing.T, mode supervise.Mode, base, text string, out io.Writer) error {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleVar + "=" + mode.String(), "BASE=" + base, "SCRIPT=" + text, "WEIR_CAPABILITY=" + secret}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}
