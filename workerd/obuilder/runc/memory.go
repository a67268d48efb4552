package runc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// memory is a directory that is on no disk.
type memory struct{ dir string }

// openMemory mounts it, in the place of one that an earlier process left.
func openMemory(dir string) (*memory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for unix.Unmount(dir, unix.MNT_DETACH) == nil {
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=0700,size=64m,noswap")
	if errors.Is(err, unix.EINVAL) { // before Linux 6.4
		err = unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=0700,size=64m")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "mount tmpfs", Path: dir, Err: err}
	}
	return &memory{dir}, nil
}

func (m *memory) close() error {
	if err := unix.Unmount(m.dir, unix.MNT_DETACH); err != nil {
		return &fs.PathError{Op: "unmount", Path: m.dir, Err: err}
	}
	return os.Remove(m.dir)
}

// writeSecrets makes a file of each secret that only the command's user reads.
func (k *container) writeSecrets() error {
	if err := os.Mkdir(k.secrets, 0o700); err != nil {
		return err
	}
	for i, s := range k.Secrets {
		file := filepath.Join(k.secrets, strconv.Itoa(i))
		if err := os.WriteFile(file, s.Value, 0o400); err != nil {
			return fmt.Errorf("write secret for %s: %w", s.Target, err)
		}
		if err := os.Chown(file, int(k.User.UID), int(k.User.GID)); err != nil {
			return err
		}
	}
	return nil
}
