package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestWhatIsLeftIsKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		mark := newMark(t)
		exit, out := run(t, r, shell(mark, `setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo bye; exit 3`))
		if exit != (Exit{Code: 3}) || out != "bye\n" {
			t.Errorf("got %v, %q", exit, out)
		}
		if left := alive(mark); len(left) > 0 {
			t.Errorf("still alive: %v", left)
		}
	})
}

func TestStopIsPoliteThenNot(t *testing.T) {
	forever := errors.New("polite")
	eachMode(t, func(t *testing.T, r *Runner) {
		for name, c := range map[string]struct {
			script string
			grace  time.Duration
			kill   bool
			want   Exit
		}{
			"heeds SIGTERM":           {"trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done", time.Hour, false, Exit{Code: 9, Stopped: true}},
			"whole group":             {"echo ready; sleep 1000 | sleep 1000", time.Hour, false, Exit{Code: -1, Signal: syscall.SIGTERM, Stopped: true}},
			"stopped by SIGSTOP":      {"echo ready; kill -STOP $$; exit 1", time.Hour, false, Exit{Code: -1, Signal: syscall.SIGTERM, Stopped: true}},
			"ignores it":              {"trap '' TERM; echo ready; while :; do sleep 1000; done", time.Millisecond, false, Exit{Code: -1, Signal: syscall.SIGKILL, Stopped: true}},
			"no grace":                {"trap 'exit 9' TERM; echo ready; sleep 1000", 0, false, Exit{Code: -1, Signal: syscall.SIGKILL, Stopped: true}},
			"grace that is cut short": {"trap '' TERM; echo ready; while :; do sleep 1000; done", time.Hour, true, Exit{Code: -1, Signal: syscall.SIGKILL, Stopped: true}},
		} {
			t.Run(name, func(t *testing.T) {
				mark := newMark(t)
				cmd := shell(mark, c.script)
				kill := make(chan struct{})
				cmd.Kill = kill
				cmd.Grace = func(cause error) time.Duration {
					if cause != forever {
						t.Errorf("cause %v", cause)
					}
					if c.kill {
						close(kill)
					}
					return c.grace
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				got, err := r.Run(ctx, cmd, &onFirstWrite{do: func() { cancel(forever) }})
				if err != nil || got != c.want {
					t.Errorf("got %v, %v; want %v", got, err, c.want)
				}
				if left := alive(mark); len(left) > 0 {
					t.Errorf("still alive: %v", left)
				}
			})
		}
	})
}

// onFirstWrite does something once the command has said that it is ready.
type onFirstWrite struct{ do func() }

func (w *onFirstWrite) Write(p []byte) (int, error) {
	if w.do != nil {
		w.do()
		w.do = nil
	}
	return len(p), nil
}

// TestNothingOutlivesTheCaller kills a caller with SIGKILL.
func TestNothingOutlivesTheCaller(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		mark := newMark(t)
		worker := self("worker", fmt.Sprintf("MODE=%d", r.Mode), "MARK="+mark)
		out, err := worker.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}
		defer worker.Wait()
		defer worker.Process.Kill()
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatalf("the worker says %q, %v", line, err)
		}
		eventually(t, 10*time.Second, "the whole brood runs", func() bool { return len(alive(mark)) >= broodSize })
		supervisors := children(worker.Process.Pid)
		if len(supervisors) != 1 {
			t.Fatalf("children of the worker: %v", supervisors)
		}
		_ = worker.Process.Kill()
		took := eventually(t, time.Second, "all are dead", func() bool { return len(alive(mark)) == 0 })
		t.Logf("all %d were dead after %s", broodSize, took)
		eventually(t, 10*time.Second, "the supervisor has ended too", func() bool { return !lives(supervisors[0]) })
	})
}

func TestForkStormIsKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		for _, role := range []string{"storm", "hop"} {
			t.Run(role, func(t *testing.T) {
				mark := newMark(t)
				c := Command{Argv: []string{"/proc/self/exe"}, Dir: "/", Env: self(role, markVar+"="+mark).Env,
					Grace: func(error) time.Duration { return 0 }}
				exe, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				c.Argv[0] = exe
				if os.Geteuid() != 0 {
					c.Argv[0] = copyOf(t, "/proc/self/exe")
				}
				if role == "hop" { // the first one ends at once: hold it
					c.Argv = []string{"/bin/sh", "-c", c.Argv[0] + "; sleep 1000"}
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() {
					_, err := r.Run(ctx, c, io.Discard)
					ended <- err
				}()
				eventually(t, 30*time.Second, "it is under way", func() bool { return len(alive(mark)) >= 2 })
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if left := alive(mark); len(left) > 0 {
					t.Errorf("still alive: %v", left)
				}
			})
		}
	})
}

// copyOf makes a program that this user may start by name.
func copyOf(t *testing.T, program string) string {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}
