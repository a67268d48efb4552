package sandbox_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/linux"
	"github.com/weirbuild/weir/workerd/sandbox"
)

// bench is an executor of real parts: runc, and a registry with busybox.
type bench struct {
	*testing.T
	executor *sandbox.Executor
	registry string
	dir      string
	lease    uint64
}

func newBench(t *testing.T, limits obuilder.Limits) *bench {
	t.Helper()
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	t.Setenv("SANDBOX_TEST_PASSED", "passed")
	b := &bench{T: t, dir: t.TempDir(), registry: enginetest.ServeBusybox(t)}
	engine, err := linux.Open(t.Context(), linux.Config{Dir: filepath.Join(b.dir, "engine"), Limits: limits,
		Mirrors: []fetch.Mirror{{Registry: "docker.io", Host: b.registry, Plain: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
		for _, left := range []string{"work", "engine/store/work", "engine/sandbox/state", "engine/sandbox/bundles"} {
			if entries, err := os.ReadDir(filepath.Join(b.dir, left)); err != nil && !os.IsNotExist(err) || len(entries) != 0 {
				t.Errorf("left in %s: %v, %v", left, entries, err)
			}
		}
	})
	b.executor, err = sandbox.New(sandbox.Config{WorkDir: filepath.Join(b.dir, "work"), Engine: engine,
		PassEnv: []string{"SANDBOX_TEST_PASSED", "SANDBOX_TEST_UNSET"}, Grace: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shell(text string) *pb.SandboxJob {
	return &pb.SandboxJob{Image: "busybox", Command: &pb.CommandJob{Argv: []string{"/bin/sh", "-c", text}}}
}

func (b *bench) task(j *pb.SandboxJob) executor.Task {
	b.lease++
	return executor.Task{Lease: b.lease, Job: "7", Attempt: 2, Pool: "p", Spec: &pb.JobSpec{Kind: &pb.JobSpec_Sandbox{Sandbox: j}}}
}

// run runs a job to its end, and gives its log without what tells of the image.
func (b *bench) run(j *pb.SandboxJob) (*pb.Outcome, string) {
	b.Helper()
	var out bytes.Buffer
	o, err := b.executor.Run(b.Context(), b.task(j), &out)
	if err != nil {
		b.Fatalf("%v\n%s", err, out.String())
	}
	_, said, _ := strings.Cut(out.String(), "\n---> ")
	_, said, _ = strings.Cut(said, "\n")
	return o, said
}

func TestCommand(t *testing.T) {
	b := newBench(t, obuilder.Limits{})
	j := shell(`pwd; id -u; echo "$A,$ORIGIN,$SANDBOX_TEST_PASSED,$HOME,$WEIR_JOB_ID,$WEIR_ATTEMPT,$WEIR_POOL,$WEIR_CHECKOUT"; ls /sys/class/net; touch here /left`)
	j.Command.Env = []*pb.EnvVar{{Name: "A", Value: "b c"}}
	for range 2 { // the second one sees nothing of the first one
		o, said := b.run(j)
		if o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || said != "/workspace\n0\nb c,busybox,passed,/root,7,2,p,/workspace\nlo\n" {
			t.Errorf("%v\n%s", o, said)
		}
		j.Command.Argv[2] = strings.Replace(j.Command.Argv[2], "touch", "ls -A . | wc -l | grep -q 0 && [ ! -e /left ]; touch", 1)
	}

	j = shell("ls /sys/class/net | sort")
	j.Network = "host"
	ours, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, i := range ours {
		want += i.Name() + "\n"
	}
	if _, said := b.run(j); said != want {
		t.Errorf("on the host's network it sees %q, want %q", said, want)
	}
}

func TestFailures(t *testing.T) {
	b := newBench(t, obuilder.Limits{Memory: 64 << 20, PIDs: 40})
	in := func(dir string) *pb.SandboxJob {
		j := shell("pwd")
		j.Command.Dir = dir
		return j
	}
	hog := shell("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done")
	hog.MemoryBytes = 1 << 40 // the worker's limit is lower
	for name, c := range map[string]struct {
		job  *pb.SandboxJob
		says string
		code int32
	}{
		"exit code":       {shell("exit 3"), "exited with code 3", 3},
		"memory":          {hog, "more memory than its limit", 137},
		"fork bomb":       {shell("i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done"), "exited with code 2", 2},
		"no program":      {&pb.SandboxJob{Image: "busybox", Command: &pb.CommandJob{Argv: []string{"make"}}}, "cannot be started", 0},
		"no image":        {&pb.SandboxJob{Image: b.registry + "/nosuch", Command: shell("").Command}, "is not in its registry", 0},
		"image of a file": {&pb.SandboxJob{Image: "oci:/etc", Command: shell("").Command}, "is a file of the machine", 0},
		"no directory":    {in("a/b"), `working directory "a/b" is not in the checkout`, 0},
		"outside":         {in("../.."), "is not in the checkout", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, executor: b.executor, dir: b.dir, lease: b.lease + 100}
			if o, said := b.run(c.job); o.Kind != pb.OutcomeKind_OUTCOME_FAILED || !strings.Contains(o.Message, c.says) || o.ExitCode != c.code {
				t.Errorf("%v\n%s", o, said)
			}
		})
	}
}

// seen is a log that somebody waits in.
type seen struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	once sync.Once
	then func()
}

func (s *seen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if strings.Contains(s.text.String(), s.want) {
		s.once.Do(s.then)
	}
	return len(p), nil
}

// A program that heeds SIGTERM ends in its own order; one that does not is killed
// without waiting for the grace of a minute; a closed Kill ends the grace.
func TestCancel(t *testing.T) {
	b := newBench(t, obuilder.Limits{})
	for name, c := range map[string]struct {
		script, ends string
		kill         bool
	}{
		"heeded":    {`trap 'echo bye; exit' TERM; echo begun; while :; do sleep 0.1; done`, "begun\nbye\n", false},
		"ignored":   {`trap '' TERM; echo begun; sleep 1000`, "begun\n", false},
		"not known": {`echo begun; sleep 1000`, "begun\n", false},
		"no grace":  {`trap 'echo waits' TERM; echo begun; while :; do sleep 0.1; done`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			kill := make(chan struct{})
			out := &seen{want: "\nbegun\n", then: func() { cancel(executor.ErrCancelled) }}
			task := b.task(shell(c.script))
			task.Kill = kill
			if c.kill {
				close(kill)
			}
			began := time.Now()
			o, err := b.executor.Run(ctx, task, out)
			if err != nil || o.Kind != pb.OutcomeKind_OUTCOME_CANCELLED || !strings.HasSuffix(out.text.String(), c.ends) {
				t.Errorf("%v, %v\n%s", o, err, out.text.String())
			}
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A login that a job brings gets it its image, and is not in the container.
func TestPrivateImage(t *testing.T) {
	b := newBench(t, obuilder.Limits{})
	j := shell(`echo "in:$WEIR_SECRETS"; [ ! -e /run/secrets ]`)
	j.Image = enginetest.ServePrivate(t)
	if o, said := b.run(j); o.Kind != pb.OutcomeKind_OUTCOME_FAILED || !strings.Contains(o.Message, "give the job (--secret docker-config:FILE)") {
		t.Errorf("without a login: %v\n%s", o, said)
	}
	task := func(config []byte) executor.Task {
		task := b.task(j)
		task.Secrets = map[string][]byte{logins.Secret: config}
		return task
	}
	var out bytes.Buffer
	o, err := b.executor.Run(t.Context(), task(enginetest.DockerConfig(j.Image, enginetest.Ann, enginetest.AnnPassword)), &out)
	if err != nil || o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || !strings.HasSuffix(out.String(), "\nin:\n") {
		t.Errorf("%v, %v\n%s", o, err, out.String())
	}
	if o, err := b.executor.Run(t.Context(), task([]byte("hunter2")), &out); err != nil || o.Kind != pb.OutcomeKind_OUTCOME_FAILED || !strings.Contains(o.Message, "no config.json with auths") {
		t.Errorf("%v, %v", o, err)
	}
}
