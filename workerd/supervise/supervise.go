// Package supervise runs a command so that no process of it is left behind,
// whatever the command does and however the caller ends.
//
// Each command gets a supervisor: this same binary, started again, which enters
// Main before anything else. It promises that every process of the command, one
// that left its session or its parent included, is dead when Run returns, and
// within a second of the caller's own death by any signal. The command starts
// with exactly the environment, the user and the three or four file descriptors it
// was given, in a session of its own, without core dumps and without a way to gain
// privileges.
//
// It refuses to be a sandbox: files, network and resources are the host's. It
// refuses to start anything in a program whose main does not call Main first.
package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultGrace is the time between SIGTERM and SIGKILL where a command says none.
const DefaultGrace = 10 * time.Second

// Command is what to run.
type Command struct {
	Argv []string // Argv[0] is looked up in Env's PATH when it holds no slash
	Env  []string // all of it: nothing is inherited
	Dir  string   // absolute
	User *User    // nil: the caller's own
	// Stdin is read by the command; nil means /dev/null. The caller closes it.
	Stdin *os.File
	// Result is what the command may write to as its file descriptor 3; nil: it
	// has none. The caller closes it.
	Result *os.File

	// Grace answers, for the cause of the context's end, how long the command's
	// process group has between SIGTERM and SIGKILL; 0 kills at once. Nil means
	// DefaultGrace, always.
	Grace func(cause error) time.Duration
	// Kill, once closed, ends a grace period that runs. Nil never does.
	Kill <-chan struct{}

	// Hide names directories that look empty to the command, and Keep directories
	// straight below them that stay as they are. Only a mode with mounts of its own
	// can do this (Mode.Hides); in the other one they are ignored.
	Hide []string
	Keep []string

	probe bool // only try whether the mode works
}

// Exit is how the command's first process ended.
type Exit struct {
	Code    int            // when it exited; -1 when a signal ended it
	Signal  syscall.Signal // 0 when it exited
	Stopped bool           // it was told to end before it ended
}

func (e Exit) String() string {
	if e.Signal != 0 {
		return "killed by " + e.SignalName()
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// SignalName is "SIGKILL" and the like; empty when the command exited.
func (e Exit) SignalName() string {
	switch {
	case e.Signal == 0:
		return ""
	case unix.SignalName(e.Signal) == "":
		return fmt.Sprintf("signal %d", int(e.Signal)) // a real-time one
	default:
		return unix.SignalName(e.Signal)
	}
}

// Ok reports whether the command exited with 0.
func (e Exit) Ok() bool { return e.Code == 0 && e.Signal == 0 }

// StartError says that the command itself could not be started: it is not there,
// or not a program. It is the command's fault, not the machine's.
type StartError struct {
	Argv0 string
	Errno syscall.Errno
	Why   string
}

func (e *StartError) Error() string { return fmt.Sprintf("start %q: %s", e.Argv0, e.Why) }

func (e *StartError) Unwrap() error { return e.Errno }

// Code is the exit code a shell gives for the same fault: 127 where there is no
// such program, 126 where it cannot be run.
func (e *StartError) Code() int {
	if e.Errno == syscall.ENOENT {
		return 127
	}
	return 126
}

func (c Command) validate() error {
	if !hooked.Load() {
		return errors.New("run a command: this program's main does not call supervise.Main first")
	}
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("run a command: it has no program name")
	}
	if !filepath.IsAbs(c.Dir) {
		return fmt.Errorf("run %q: working directory %q is not absolute", c.Argv[0], c.Dir)
	}
	for _, s := range append(c.Argv[:len(c.Argv):len(c.Argv)], c.Env...) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("run %q: an argument or variable holds a zero byte", c.Argv[0])
		}
	}
	return nil
}

func (c Command) grace(cause error) time.Duration {
	if c.Grace == nil {
		return DefaultGrace
	}
	return c.Grace(cause)
}
