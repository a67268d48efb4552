package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// prepare makes this process what its command inherits from.
func (s *supervisor) prepare() error {
	if s.start.Mode.Hides() {
		if err := s.mounts(); err != nil {
			return err
		}
	} else if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	} else {
		warmUp()
	}
	if s.start.Mode == UserNamespace {
		if err := dropCapabilities(); err != nil {
			return fmt.Errorf("drop capabilities: %w", err)
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

// mounts gives this namespace a /proc that shows only its own processes, and
// hides what the command should not see. Mounts of the host still arrive, none
// of ours leave.
func (s *supervisor) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separate mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a private /proc: %w", err)
	}
	for _, dir := range s.start.Hide {
		if err := hide(dir, s.start.Keep); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	return nil
}

// hide covers dir with an empty read-only file system, in which keep alone shows.
func hide(dir, keep string) error {
	kept := -1
	if keep != "" && filepath.Dir(keep) == filepath.Clean(dir) {
		fd, err := unix.Open(keep, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", keep, err)
		}
		defer unix.Close(fd)
		kept = fd
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=0711,size=64k"); err != nil {
		return err
	}
	if kept >= 0 {
		if err := os.Mkdir(keep, 0o711); err != nil {
			return err
		}
		if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(kept), keep, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show %s: %w", keep, err)
		}
	}
	return unix.Mount("", dir, "", flags|unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// dropCapabilities takes from this thread, and so from the command, what it
// needed for its mounts.
func dropCapabilities() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return errors.Join(
		unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
		unix.Capset(&head, &none[0]),
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
