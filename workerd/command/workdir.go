package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weirbuild/weir/workerd/supervise"
)

// attemptPrefix begins the name of each attempt's directory; its lease follows.
const attemptPrefix = "attempt-"

// makeWorkDir makes the directory of all attempts. Others may pass through it but
// not list it.
func makeWorkDir(dir string, user *supervise.User, hidden []string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("work directory %q is not absolute", dir)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("make work directory: %w", err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("make work directory: %w", err)
	}
	for _, h := range hidden {
		if rel, err := filepath.Rel(h, dir); err == nil && filepath.IsLocal(rel) {
			return "", fmt.Errorf("work directory %s is in %s, which jobs must not reach: choose another with --work-dir", dir, h)
		}
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("open work directory to jobs: %w", err)
	}
	return dir, reachable(dir, user)
}

// reachable checks that the job user may pass every directory on the way.
func reachable(dir string, user *supervise.User) error {
	if user == nil {
		return nil
	}
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("check work directory: %w", err)
		}
		if !mayPass(info, user) {
			return fmt.Errorf("work directory %s: job user %q may not pass %s (%s): chmod o+x it, or choose another with --work-dir",
				dir, user.Name, d, info.Mode())
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

func mayPass(info fs.FileInfo, user *supervise.User) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return true
	case stat.Uid == user.UID:
		return stat.Mode&0o100 != 0
	case stat.Gid == user.GID || slices.Contains(user.Groups, stat.Gid):
		return stat.Mode&0o010 != 0
	default:
		return stat.Mode&0o001 != 0
	}
}

// removeLeftovers removes the attempts of a worker that did not end in peace. Its
// processes are dead: they do not outlive it.
func (e *Executor) removeLeftovers() error {
	entries, err := os.ReadDir(e.work)
	if err != nil {
		return fmt.Errorf("list work directory: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), attemptPrefix) {
			continue
		}
		if err := removeAll(filepath.Join(e.work, entry.Name())); err != nil {
			return fmt.Errorf("remove what an earlier attempt left: %w", err)
		}
		e.log.Debug("removed an earlier attempt", "dir", entry.Name())
	}
	return nil
}

// handOver gives everything to the job's user, the way in last: until then nobody
// can change what is below while we walk.
func (a *attempt) handOver() error {
	if a.user == nil {
		return nil
	}
	err := filepath.WalkDir(a.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == a.dir {
			return err
		}
		return os.Lchown(path, int(a.user.UID), int(a.user.GID))
	})
	if err == nil {
		err = os.Lchown(a.dir, int(a.user.UID), int(a.user.GID))
	}
	if err != nil {
		return fmt.Errorf("hand work directory to job user %q: %w", a.user.Name, err)
	}
	return nil
}

// inside finds the job's working directory. Neither ".." nor a symbolic link may
// lead out of the checkout.
func inside(checkout, dir string) (string, error) {
	if dir == "" {
		return checkout, nil
	}
	if !filepath.IsLocal(dir) {
		return "", fmt.Errorf("working directory %q: want a path within the checkout", dir)
	}
	root, err := os.OpenRoot(checkout)
	if err != nil {
		return "", fmt.Errorf("working directory %q: %w", dir, err)
	}
	defer root.Close()
	info, err := root.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("working directory %q is not in the checkout", dir)
	case err != nil:
		return "", fmt.Errorf("working directory %q leads out of the checkout, or cannot be entered", dir)
	case !info.IsDir():
		return "", fmt.Errorf("working directory %q is not a directory", dir)
	}
	return filepath.Join(checkout, dir), nil
}

// removeAll removes a tree, also one whose directories were made read-only. It
// follows no symbolic link.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(path, 0o700) // what fails here fails below, with a better word
		}
		return nil
	})
	return os.RemoveAll(dir)
}
