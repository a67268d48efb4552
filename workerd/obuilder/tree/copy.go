// Package tree copies file trees with everything that a build may depend on:
// owners, modes, times, attributes, hard links and devices.
//
// It promises a copy that shares nothing with its original that can be changed.
// It refuses nothing but sockets, which it leaves out: they mean nothing without
// the process that had them.
package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Copy copies what is in the directory from into the directory to, and gives to
// the attributes of from. Note, which may be nil, hears of each regular file
// once its copy is complete: its path in the tree, and the copy's.
func Copy(from, to string, note func(path, copied string) error) error {
	c := &copier{from: from, to: to, links: map[inode]string{}, note: note}
	if err := c.dir("."); err != nil {
		return fmt.Errorf("copy tree: %w", err)
	}
	return nil
}

type inode struct{ dev, ino uint64 }

type copier struct {
	from, to string
	links    map[inode]string // copies of files with several names
	note     func(path, copied string) error
}

func (c *copier) dir(path string) error {
	entries, err := os.ReadDir(filepath.Join(c.from, path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.entry(filepath.Join(path, e.Name()), e.Type()); err != nil {
			return err
		}
	}
	return attributes(filepath.Join(c.from, path), filepath.Join(c.to, path), fs.ModeDir)
}

func (c *copier) entry(path string, kind fs.FileMode) error {
	from, to := filepath.Join(c.from, path), filepath.Join(c.to, path)
	switch {
	case kind.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		return c.dir(path)
	case kind.IsRegular():
		return c.file(path, from, to)
	case kind&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err == nil {
			err = os.Symlink(target, to)
		}
		if err != nil {
			return err
		}
	case kind&fs.ModeSocket != 0:
		return nil
	default:
		var stat unix.Stat_t
		if err := unix.Lstat(from, &stat); err != nil {
			return &fs.PathError{Op: "stat", Path: from, Err: err}
		}
		if err := unix.Mknod(to, stat.Mode, int(stat.Rdev)); err != nil {
			return &fs.PathError{Op: "mknod", Path: to, Err: err}
		}
	}
	return attributes(from, to, kind)
}

func (c *copier) file(path, from, to string) error {
	var stat unix.Stat_t
	if err := unix.Lstat(from, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: from, Err: err}
	}
	if stat.Nlink > 1 {
		key := inode{uint64(stat.Dev), stat.Ino}
		if first, ok := c.links[key]; ok {
			return os.Link(first, to)
		}
		c.links[key] = to
	}
	if err := content(from, to); err != nil {
		return err
	}
	if err := attributes(from, to, 0); err != nil || c.note == nil {
		return err
	}
	return c.note(path, to)
}

// content copies a file's bytes, or shares them where the file system can.
func content(from, to string) (err error) {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	_, err = io.Copy(out, in)
	return err
}

// attributes makes to like from in all but content. The owner comes first: a
// change of it clears the setuid bit and the capabilities.
func attributes(from, to string, kind fs.FileMode) error {
	var stat unix.Stat_t
	if err := unix.Lstat(from, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: from, Err: err}
	}
	if err := os.Lchown(to, int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	if kind&fs.ModeSymlink == 0 {
		if err := unix.Chmod(to, stat.Mode&0o7777); err != nil {
			return &fs.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	if err := xattrs(from, to); err != nil {
		return err
	}
	times := []unix.Timespec{stat.Mtim, stat.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set time", Path: to, Err: err}
	}
	return nil
}

// xattrs copies the attributes that have a meaning outside of one mount.
func xattrs(from, to string) error {
	size, err := unix.Llistxattr(from, nil)
	if err != nil || size == 0 {
		return nil // this file system has none
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(from, list); err != nil {
		return &fs.PathError{Op: "list attributes", Path: from, Err: err}
	}
	for name := range strings.SplitSeq(strings.Trim(string(list[:size]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(from, name, value)
		if err == nil {
			err = unix.Lsetxattr(to, name, value[:n], 0)
		}
		if err != nil && err != unix.ENOTSUP {
			return &fs.PathError{Op: "copy attribute " + name, Path: from, Err: err}
		}
	}
	return nil
}
