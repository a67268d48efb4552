package processtest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// answer is what a command left behind.
type answer struct {
	out, err string
	code     int // -1: ended by a signal
	took     time.Duration
}

// command is a weir command that runs.
type command struct {
	w     *world
	cmd   *exec.Cmd
	out   *text
	err   *text
	done  chan struct{}
	begun time.Time
	took  time.Duration
}

// text is a growing output.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

func (t *text) has(part string) bool { return strings.Contains(t.String(), part) }

// begin starts a command with a capability's file; its arguments follow.
func (w *world) begin(capFile string, args ...string) *command {
	w.t.Helper()
	return w.beginTo(nil, capFile, args...)
}

// beginTo is begin with the output elsewhere.
func (w *world) beginTo(stdout io.Writer, capFile string, args ...string) *command {
	w.t.Helper()
	c := &command{w: w, cmd: exec.Command(binary, args...), out: &text{}, err: &text{}, done: make(chan struct{}), begun: time.Now()}
	c.cmd.Env = append(os.Environ(), "WEIR_CAPABILITY="+capFile)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.err
	if stdout != nil {
		c.cmd.Stdout = stdout
	}
	w.must(c.cmd.Start())
	go func() { // ends with the process
		defer close(c.done)
		_ = c.cmd.Wait() // the exit code tells
		c.took = time.Since(c.begun)
	}()
	w.t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.done
	})
	return c
}

func (c *command) signal(s syscall.Signal) {
	c.w.t.Helper()
	c.w.must(c.cmd.Process.Signal(s))
}

// over says whether the command has ended.
func (c *command) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// wait returns what the command left behind.
func (c *command) wait() answer {
	c.w.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.w.t.Fatalf("weir %s did not end within %v; it said:\n%s%s", strings.Join(c.cmd.Args[1:], " "), patience, c.out, c.err)
	}
	return answer{c.out.String(), c.err.String(), c.cmd.ProcessState.ExitCode(), c.took}
}

// weir runs a command to its end.
func (w *world) weir(capFile string, args ...string) answer {
	w.t.Helper()
	return w.begin(capFile, args...).wait()
}

// ok runs a command that must succeed and returns its output.
func (w *world) ok(capFile string, args ...string) string {
	w.t.Helper()
	a := w.weir(capFile, args...)
	if a.code != 0 {
		w.t.Fatalf("weir %s: exit code %d\n%s%s", strings.Join(args, " "), a.code, a.out, a.err)
	}
	return a.out
}

// refused checks how a command failed: its exit code, and what it must say.
func (w *world) refused(a answer, code int, says ...string) {
	w.t.Helper()
	if a.code != code {
		w.t.Errorf("exit code %d, not %d: %s", a.code, code, a.err)
	}
	for _, part := range says {
		if !strings.Contains(a.err, part) {
			w.t.Errorf("%q does not say %q", a.err, part)
		}
	}
}
