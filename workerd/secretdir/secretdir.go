// Package secretdir keeps the secrets of attempts in files that are on no disk: in
// memory, each attempt's in a directory of its own that only its user can enter.
//
// It promises that what an earlier worker left is gone after Open, and that a
// directory in a place where everybody may write is used only when it is ours alone.
// It refuses to fall back on a disk.
//
// Memory may be swapped out, as that of any process: encrypt the swap, or have none.
package secretdir

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/supervise"
)

// memory is where Linux has a file system in memory for everybody.
const memory = "/dev/shm"

// Area is one worker's part of it.
type Area struct{ dir string }

// Open makes the area of the worker that has this work directory, and empties it.
func Open(workDir string) (*Area, error) {
	a, err := open(memory, workDir)
	if err != nil {
		return nil, fmt.Errorf("make a place in memory for secrets: %w", err)
	}
	return a, nil
}

func open(base, workDir string) (*Area, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(base, &fs); err != nil {
		return nil, &os.PathError{Op: "look at", Path: base, Err: err}
	}
	if fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC {
		return nil, fmt.Errorf("%s is no file system in memory: mount a tmpfs there", base)
	}
	h := fnv.New64a()
	h.Write([]byte(workDir))
	a := &Area{filepath.Join(base, fmt.Sprintf("weir-secrets-%d-%016x", os.Geteuid(), h.Sum64()))}
	if err := os.Mkdir(a.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := a.checkOwner(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(a.dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return a, os.Chmod(a.dir, 0o711) // jobs pass through it, and cannot list it
}

// checkOwner refuses a directory, or a link, that somebody else has put there.
func (a *Area) checkOwner() error {
	info, err := os.Lstat(a.dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is somebody else's (%s): remove it", a.dir, info.Mode())
	}
	return nil
}

// Close removes the area, if no attempt has anything in it.
func (a *Area) Close() { _ = os.Remove(a.dir) } // what is left is removed by the next Open

// Dir is the area's directory, which other jobs must not see.
func (a *Area) Dir() string { return a.dir }

// Make writes an attempt's secrets to files that are named by their ids, which
// only the user can read; nil: the worker's own. The caller removes the directory.
func (a *Area) Make(lease uint64, secrets map[string][]byte, user *supervise.User) (string, error) {
	dir := filepath.Join(a.dir, strconv.FormatUint(lease, 10))
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = fill(dir, secrets, user)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("write the job's secrets: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}

func fill(dir string, secrets map[string][]byte, user *supervise.User) error {
	for id, value := range secrets {
		if !filepath.IsLocal(id) || filepath.Base(id) != id {
			return &fs.PathError{Op: "write", Path: id, Err: fs.ErrInvalid}
		}
		file := filepath.Join(dir, id)
		if err := os.WriteFile(file, value, 0o400); err != nil {
			return err
		}
		if err := own(file, user); err != nil {
			return err
		}
	}
	return own(dir, user)
}

func own(path string, user *supervise.User) error {
	if user == nil {
		return nil
	}
	return os.Lchown(path, int(user.UID), int(user.GID))
}
