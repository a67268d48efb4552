package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// launch starts the command: its own session, /dev/null or the given file as
// input, the caller's pipe as output and error.
func (s *supervisor) launch() (pid int, err error) {
	if info, err := os.Stat(s.start.Dir); err != nil || !info.IsDir() {
		return 0, fmt.Errorf("working directory %s: %w", s.start.Dir, cmp.Or(err, error(syscall.ENOTDIR)))
	}
	path, err := s.lookPath()
	if err != nil {
		return 0, err
	}
	stdin := uintptr(0) // the supervisor's own, which is /dev/null
	if s.start.Stdin {
		stdin = fdStdin
	}
	pid, err = syscall.ForkExec(path, s.start.Argv, &syscall.ProcAttr{
		Dir:   s.start.Dir,
		Env:   s.start.Env,
		Files: []uintptr{stdin, fdOutput, fdOutput},
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: s.start.User, Pdeathsig: syscall.SIGKILL},
	})
	switch {
	case err == nil:
		return pid, nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return 0, fmt.Errorf("start %q: %w; this machine is short of processes or memory", s.start.Argv[0], err)
	case errors.Is(err, syscall.ENOENT):
		return 0, s.fault(syscall.ENOENT, "its interpreter is not installed")
	case errors.Is(err, syscall.E2BIG):
		return 0, s.fault(syscall.E2BIG, "its arguments and environment are too long")
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return 0, err
	}
	return 0, s.fault(errno, errno.Error())
}

func (s *supervisor) fault(errno syscall.Errno, why string) error {
	return &StartError{Argv0: s.start.Argv[0], Errno: errno, Why: why}
}

// lookPath finds the program as a shell would: by the command's own PATH, and
// from the command's own directory.
func (s *supervisor) lookPath() (string, error) {
	name := s.start.Argv[0]
	if strings.Contains(name, "/") {
		return s.executable(name)
	}
	var denied error
	for _, dir := range filepath.SplitList(variable(s.start.Env, "PATH")) {
		path, err := s.executable(filepath.Join(dir, name))
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, syscall.ENOENT) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", s.fault(syscall.ENOENT, "command not found")
}

func (s *supervisor) executable(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.start.Dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", s.fault(syscall.ENOENT, "no such file")
	case err != nil:
		return "", s.fault(syscall.EACCES, err.Error())
	case info.IsDir():
		return "", s.fault(syscall.EACCES, "is a directory")
	case info.Mode()&0o111 == 0:
		return "", s.fault(syscall.EACCES, "permission denied: it is not executable")
	}
	return path, nil
}

// variable is the last value of name in env.
func variable(env []string, name string) (value string) {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}
