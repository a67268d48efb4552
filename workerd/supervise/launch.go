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
// input, the caller's pipe as output and error, and the file for its result.
func launch(c start, files []int) (pid int, err error) {
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return 0, fmt.Errorf("working directory %s: %w", c.Dir, cmp.Or(err, error(syscall.ENOTDIR)))
	}
	path, err := c.lookPath()
	if err != nil {
		return 0, err
	}
	out, in := uintptr(files[0]), uintptr(0) // ours is /dev/null
	more := files[1:]
	if c.Stdin {
		in, more = uintptr(more[0]), more[1:]
	}
	all := []uintptr{in, out, out}
	if c.Result {
		all = append(all, uintptr(more[0]))
	}
	pid, err = syscall.ForkExec(path, c.Argv, &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: all,
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: c.User, Pdeathsig: syscall.SIGKILL},
	})
	switch {
	case err == nil:
		return pid, nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return 0, fmt.Errorf("start %q: %w; this machine is short of processes or memory", c.Argv[0], err)
	case errors.Is(err, syscall.ENOENT):
		return 0, c.fault(syscall.ENOENT, "its interpreter is not installed")
	case errors.Is(err, syscall.E2BIG):
		return 0, c.fault(syscall.E2BIG, "its arguments and environment are too long")
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return 0, err
	}
	return 0, c.fault(errno, errno.Error())
}

func (c start) fault(errno syscall.Errno, why string) error {
	return &StartError{Argv0: c.Argv[0], Errno: errno, Why: why}
}

// lookPath finds the program as a shell would: by the command's own PATH, and
// from the command's own directory.
func (c start) lookPath() (string, error) {
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		return c.executable(name)
	}
	var denied error
	for _, dir := range filepath.SplitList(variable(c.Env, "PATH")) {
		path, err := c.executable(filepath.Join(dir, name))
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
	return "", c.fault(syscall.ENOENT, "command not found")
}

func (c start) executable(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", c.fault(syscall.ENOENT, "no such file")
	case err != nil:
		return "", c.fault(syscall.EACCES, err.Error())
	case info.IsDir():
		return "", c.fault(syscall.EACCES, "is a directory")
	case info.Mode()&0o111 == 0:
		return "", c.fault(syscall.EACCES, "permission denied: it is not executable")
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
