package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a place for an overlay: a private directory, a new upper layer, and
// where both are seen as one once mounted.
type mount struct {
	dir     string
	upper   string
	merged  string
	mounted bool
}

func (s *Store) begin() (*mount, error) {
	dir, err := s.Work()
	if err != nil {
		return nil, err
	}
	m := &mount{dir: dir, upper: filepath.Join(dir, "layer", "fs"), merged: filepath.Join(dir, "merged")}
	for _, d := range []string{filepath.Dir(m.upper), m.upper, m.merged, m.scratch()} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, errors.Join(err, m.end())
		}
	}
	return m, nil
}

func (m *mount) scratch() string { return filepath.Join(m.dir, "scratch") }

// mount shows lowers, the uppermost first, below the upper layer; or without
// one, to read only.
func (m *mount) mount(lowers []string, writable bool) error {
	if writable {
		if err := likeLower(lowers[0], m.upper); err != nil {
			return err
		}
	}
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("this kernel has no overlayfs, or no fsopen: %w", err)
	}
	defer unix.Close(fsfd)
	set := func(key, value string) {
		if err == nil {
			if err = unix.FsconfigSetString(fsfd, key, value); err != nil {
				err = fmt.Errorf("overlayfs option %s=%s: %w%s", key, value, err, said(fsfd))
			}
		}
	}
	for _, l := range lowers {
		set("lowerdir+", l)
	}
	set("metacopy", "off")
	set("index", "off")
	if !writable {
		set("redirect_dir", "follow")
	} else {
		set("upperdir", m.upper)
		set("workdir", m.scratch())
		set("redirect_dir", "on") // else a directory of the base cannot be renamed
		if err == nil {
			// What a build syncs is not worth it: a crash discards it. Unmounting would
			// sync the whole disk.
			err = unix.FsconfigSetFlag(fsfd, "volatile")
		}
	}
	if err != nil {
		return err
	}
	return m.attach(fsfd, writable)
}

// likeLower makes a new layer's root like the one below it: the upper one counts.
func likeLower(lower, upper string) error {
	var stat unix.Stat_t
	if err := unix.Stat(lower, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: lower, Err: err}
	}
	return errors.Join(os.Chown(upper, int(stat.Uid), int(stat.Gid)), unix.Chmod(upper, stat.Mode&0o7777))
}

func (m *mount) attach(fsfd int, writable bool) error {
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return fmt.Errorf("mount overlayfs: %w%s", err, said(fsfd))
	}
	flags := 0
	if !writable {
		flags = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, flags)
	if err != nil {
		return fmt.Errorf("mount overlayfs: %w%s", err, said(fsfd))
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, m.merged, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &fs.PathError{Op: "mount", Path: m.merged, Err: err}
	}
	m.mounted = true
	return nil
}

// said is what the kernel explains about the last failure.
func said(fsfd int) string {
	text := make([]byte, 4096)
	n, err := unix.Read(fsfd, text)
	if err != nil || n <= 2 {
		return ""
	}
	return " (" + strings.TrimSpace(string(text[2:n])) + ")" // after "e ", "w " or "i "
}

func (m *mount) unmount() error {
	if !m.mounted {
		return nil
	}
	if err := unix.Unmount(m.merged, 0); err != nil {
		return &fs.PathError{Op: "unmount", Path: m.merged, Err: err}
	}
	m.mounted = false
	return nil
}

// end unmounts, busy or not, and removes the directory.
func (m *mount) end() error {
	if m.mounted {
		if err := unix.Unmount(m.merged, unix.MNT_DETACH); err != nil {
			return &fs.PathError{Op: "unmount", Path: m.merged, Err: err}
		}
		m.mounted = false
	}
	return os.RemoveAll(m.dir)
}
