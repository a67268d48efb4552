package supervise

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// closeOnExec keeps every file but 0, 1 and 2 from the command, also those that
// the caller itself was born with.
func closeOnExec() error {
	err := unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// prepare makes this process what its commands inherit from.
func (s *supervisor) prepare() error {
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("close inherited files: %w", err)
	}
	if s.mode.Hides() {
		if err := ownMounts(); err != nil {
			return err
		}
	} else {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become subreaper: %w", err)
		}
		warmUp()
	}
	if s.mode == UserNamespace {
		if err := keepCapabilities(); err != nil {
			return fmt.Errorf("keep capabilities from commands: %w", err)
		}
	}
	syscall.Umask(0o022)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	// A command of the same user must not trace its supervisor.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid tracing: %w", err)
	}
	return nil
}

// keepCapabilities lets this thread keep what it needs for mounts, but not pass
// it on: without ambient and inheritable ones, exec drops all of a user that is
// not root.
func keepCapabilities() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&head, &caps[0]); err != nil {
		return err
	}
	caps[0].Inheritable, caps[1].Inheritable = 0, 0
	return errors.Join(
		unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
		unix.Capset(&head, &caps[0]),
	)
}

// warmUp makes the runtime create its threads while it still can: a command that
// fills the process table must not keep a subreaper from killing it.
func warmUp() {
	const threads = 6
	done := make(chan struct{}, threads)
	for range threads {
		go func() {
			ts := unix.NsecToTimespec(int64(2 * time.Millisecond))
			_ = unix.Nanosleep(&ts, nil) // each sleeper holds a thread
			done <- struct{}{}
		}()
	}
	for range threads {
		<-done
	}
}
