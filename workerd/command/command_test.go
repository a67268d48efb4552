package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/supervise"
)

func TestEnvironmentIsWhatTheDocumentSays(t *testing.T) {
	t.Setenv("PASSED", "from the worker")
	t.Setenv("NOT_PASSED", "x")
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		e := newExecutor(t, r, func(c *Config) { c.PassEnv = []string{"PASSED", "NOT_SET_AT_ALL"} })
		o, log := run(t, e, script(`env -u PWD | sort; [ -w "$HOME" ] && [ -w "$TMPDIR" ] && echo "private: $(stat -c %a "$HOME" "$TMPDIR" .. | tr '\n' ' ')"; pwd`,
			&pb.EnvVar{Name: "MINE", Value: "a b\nc"}, &pb.EnvVar{Name: "LANG", Value: "de_DE"}))
		dir := filepath.Join(e.work, attemptPrefix)
		got := strings.NewReplacer(dir, "DIR-", "USER="+e.account, "USER=me", "LOGNAME="+e.account, "LOGNAME=me").Replace(log)
		for i := leases.Load(); i > 0; i-- {
			got = strings.ReplaceAll(got, "DIR-"+itoa(i), "DIR")
		}
		want := `CI=true
HOME=DIR/home
LANG=de_DE
LOGNAME=me
MINE=a b
PASSED=from the worker
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SHELL=/bin/sh
TERM=dumb
TMPDIR=DIR/tmp
USER=me
WEIR_ATTEMPT=2
WEIR_CHECKOUT=DIR/checkout
WEIR_JOB_ID=j-7
WEIR_POOL=linux
c
private: 700 700 700 ` + "\nDIR/checkout\n"
		if got != want || o.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("%v; got\n%s\nwant\n%s", o, got, want)
		}
	})
}

func itoa(n uint64) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func TestOutcomes(t *testing.T) {
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		e := newExecutor(t, r)
		o, _ := run(t, e, script("exit 42"))
		wantFailed(t, o, "exited with code 42")
		if o.GetExitCode() != 42 {
			t.Errorf("exit code %d", o.GetExitCode())
		}
		o, _ = run(t, e, script("kill -9 $$"))
		wantFailed(t, o, "SIGKILL")
		if o.GetSignal() != "SIGKILL" || o.GetExitCode() != 0 {
			t.Errorf("got %v", o)
		}
		o, _ = run(t, e, &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"no-such-program"}}}})
		wantFailed(t, o, `start "no-such-program": command not found`)
		if o.GetExitCode() != 127 {
			t.Errorf("exit code %d", o.GetExitCode())
		}
		wantNothingLeft(t, e)
	})
}

func TestRefusesBadJobs(t *testing.T) {
	e := newExecutor(t, &supervise.Runner{Mode: supervise.Subreaper})
	t.Cleanup(e.runner.Close)
	command := func(c *pb.CommandJob) *pb.JobSpec { return &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: c}} }
	for words, spec := range map[string]*pb.JobSpec{
		"no program":      command(&pb.CommandJob{}),
		"names no":        command(&pb.CommandJob{Argv: []string{""}}),
		"zero byte":       command(&pb.CommandJob{Argv: []string{"true", "a\x00"}}),
		"holds a zero":    script("true", &pb.EnvVar{Name: "A", Value: "\x00"}),
		"letters, digits": script("true", &pb.EnvVar{Name: "A=B"}),
		"want a name":     script("true", &pb.EnvVar{Name: ""}),
		"the worker's":    script("true", &pb.EnvVar{Name: "WEIR_POOL", Value: "x"}),
		"is not in":       command(&pb.CommandJob{Argv: []string{"true"}, Dir: "absent"}),
		"within the":      command(&pb.CommandJob{Argv: []string{"true"}, Dir: "../home"}),
		"a path within":   command(&pb.CommandJob{Argv: []string{"true"}, Dir: "/etc"}),
	} {
		o, _ := run(t, e, spec)
		wantFailed(t, o, words)
	}
	if _, err := e.Run(t.Context(), task(&pb.JobSpec{}), io.Discard); err == nil {
		t.Error("a job of another kind was run")
	}
	for _, name := range []string{"WEIR_CAPABILITY", "A=B", "", "*"} {
		if _, err := New(Config{WorkDir: openDir(t), JobUser: jobUser(), PassEnv: []string{name}}); err == nil {
			t.Errorf("variable %q may be passed", name)
		}
	}
	wantNothingLeft(t, e)
}

func TestRefusesBadPlaces(t *testing.T) {
	closed, open := t.TempDir(), openDir(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for words, c := range map[string]Config{
		"not absolute":        {WorkDir: "work", JobUser: jobUser()},
		"must not reach":      {WorkDir: filepath.Join(open, "state", "work"), JobUser: jobUser(), Hide: []string{filepath.Join(open, "state")}},
		"also must not reach": {WorkDir: filepath.Join(open, "same"), JobUser: jobUser(), Hide: []string{filepath.Join(open, "same")}},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(words, "also ")) {
			t.Errorf("%s: %v", words, err)
		}
	}
	if os.Geteuid() == 0 {
		if _, err := New(Config{WorkDir: open}); err == nil || !strings.Contains(err.Error(), "--job-user") {
			t.Errorf("root without a job user: %v", err)
		}
		if _, err := New(Config{WorkDir: filepath.Join(closed, "work"), JobUser: jobUser()}); err == nil || !strings.Contains(err.Error(), "may not pass "+closed) {
			t.Errorf("a closed directory on the way: %v", err)
		}
	}
}

func TestEveryTraceIsRemoved(t *testing.T) {
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		e := newExecutor(t, r)
		o, log := run(t, e, script(`mkdir -p a/b/c "$HOME/x" && echo 1 > a/b/c/file && ln -s /etc a/link && mkfifo a/fifo && chmod 000 a/b/c/file a/b/c a/b a "$HOME" "$TMPDIR" ..`))
		if o.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("%v, log %q", o, log)
		}
		wantNothingLeft(t, e)
	})
}

func TestLeftoversGoAtStart(t *testing.T) {
	work := openDir(t)
	for _, dir := range []string{attemptPrefix + "3/checkout/x", attemptPrefix + "4", "somebody-elses"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(work, attemptPrefix+"3/checkout"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{WorkDir: work, JobUser: jobUser()}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(work)
	if err != nil || len(entries) != 1 || entries[0].Name() != "somebody-elses" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestStops(t *testing.T) {
	const deaf = `trap '' TERM; (setsid sleep 1000 &); echo ready; while :; do sleep 1000; done`
	const polite = `trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done`
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		for name, c := range map[string]struct {
			script string
			cause  error
			kill   bool // close Task.Kill too
			kind   pb.OutcomeKind
			last   string
		}{
			"cancelled, polite":           {polite, executor.ErrCancelled, false, pb.OutcomeKind_OUTCOME_CANCELLED, "bye\nJob cancelled\n"},
			"cancelled, then killed":      {deaf, executor.ErrCancelled, true, pb.OutcomeKind_OUTCOME_CANCELLED, "Job cancelled\n"},
			"fenced":                      {deaf, executor.ErrFenced, false, 0, "another worker may run this job now\n"},
			"killed with the worker":      {polite, executor.ErrKilled, false, 0, "told to stop at once\n"},
			"for a reason nobody defined": {deaf, errors.New("odd"), false, 0, "odd\n"},
		} {
			t.Run(name, func(t *testing.T) {
				e := newExecutor(t, r, func(c *Config) { c.Grace = time.Hour })
				ctx, cancel := context.WithCancelCause(t.Context())
				kill := make(chan struct{})
				log := &whenReady{do: func() {
					cancel(c.cause)
					if c.kill {
						close(kill)
					}
				}}
				job := task(script(c.script))
				job.Kill = kill
				o, err := executor.Standard(e, "w1").Run(ctx, job, log)
				if o.GetKind() != c.kind || (c.kind == 0) != errors.Is(err, c.cause) {
					t.Errorf("got %v, %v", o, err)
				}
				if got := log.String(); !strings.HasPrefix(got, "Building on w1\nready\n") || !strings.HasSuffix(got, c.last) {
					t.Errorf("log %q", got)
				}
				wantNothingLeft(t, e)
			})
		}
	})
}

func TestTimeLimit(t *testing.T) {
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		e := newExecutor(t, r, func(c *Config) { c.Grace = time.Millisecond })
		job := task(script("trap '' TERM; echo begun; while :; do sleep 1000; done"))
		job.TimeLimit = time.Second
		var log bytes.Buffer
		o, err := executor.Standard(e, "w1").Run(t.Context(), job, &log)
		if err != nil || o.GetKind() != pb.OutcomeKind_OUTCOME_TIMED_OUT {
			t.Errorf("got %v, %v", o, err)
		}
		if want := "Building on w1\nbegun\n\nTime limit of 1s reached: stopping the job\nJob failed: time limit of 1s reached\n"; log.String() != want {
			t.Errorf("log %q, want %q", log.String(), want)
		}
		wantNothingLeft(t, e)
	})
}
