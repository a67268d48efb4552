// Package inroot changes a file tree as a process would that has it as its root.
//
// It promises that no path leads out of the tree, whatever symbolic links the
// tree has: they are resolved within it, as a container would. It needs
// openat2 (Linux 5.6), and root for owners and devices.
package inroot

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// What is in the way of an entry, within a *fs.PathError.
var (
	ErrDirectory   = errors.New("it is a directory")
	ErrNoDirectory = errors.New("it is no directory, or a link to nothing")
)

// Root is an open tree.
type Root struct{ fd int }

// Open opens the tree below dir.
func Open(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &Root{fd}, nil
}

// Close closes the tree.
func (r *Root) Close() error { return unix.Close(r.fd) }

// Attributes are what every entry has.
type Attributes struct {
	Mode     fs.FileMode // permissions and the setuid, setgid and sticky bits
	UID, GID int
	ModTime  time.Time // zero: now
	Xattrs   map[string]string
}

// directory opens an existing directory, through symbolic links.
func (r *Root) directory(name string) (*os.File, error) {
	fd, err := Openat2(r.fd, clean(name), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// lookups bounds the tries of one path. A try takes microseconds, so that many
// fail only where something renames without a pause.
const lookups = 10_000

// Openat2 is openat2(2), tried again when the kernel could not tell whether a
// ".." stayed in bounds: it says EAGAIN for any rename or mount on the machine in
// that moment, and a worker's other builds do little else.
func Openat2(dir int, name string, how *unix.OpenHow) (fd int, err error) {
	for range lookups {
		fd, err = unix.Openat2(dir, name, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
		runtime.Gosched()
	}
	return fd, err
}

// clean makes a path of the tree relative to its root.
func clean(name string) string {
	if name = path.Clean("/" + name)[1:]; name != "" {
		return name
	}
	return "."
}

// within calls do with a host path that means name, whose directory must exist.
// The path's last part is not followed by functions that do not follow links.
func (r *Root) within(name string, do func(hostPath string) error) error {
	dir, err := r.directory(path.Dir("/" + clean(name)))
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), path.Base(clean(name))))
}

// MkdirAll makes a directory and what is missing above it, owned by a. What
// exists stays as it is.
func (r *Root) MkdirAll(name string, a Attributes) error {
	dir, err := r.directory(name)
	if err == nil {
		return dir.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) || clean(name) == "." {
		return err
	}
	if err := r.MkdirAll(path.Dir(clean(name)), a); err != nil {
		return err
	}
	err = r.within(name, func(host string) error {
		if err := os.Mkdir(host, 0o700); err != nil {
			return err
		}
		return settle(host, a)
	})
	if errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "mkdir", Path: name, Err: ErrNoDirectory}
	}
	return err
}

// Directory makes a directory, or gives an existing one these attributes. Any
// other entry of the name is replaced.
func (r *Root) Directory(name string, a Attributes) error {
	return r.within(name, func(host string) error {
		info, err := os.Lstat(host)
		if err == nil && !info.IsDir() {
			err = os.Remove(host)
			info = nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if info == nil {
			if err := os.Mkdir(host, 0o700); err != nil {
				return err
			}
		}
		return settle(host, a)
	})
}

// Adorn gives a directory attributes, through a symbolic link.
func (r *Root) Adorn(name string, a Attributes) error {
	dir, err := r.directory(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return settle(fmt.Sprintf("/proc/self/fd/%d/.", dir.Fd()), a)
}

// File makes a regular file of what from gives. It replaces another file or
// link, and refuses to replace a directory.
func (r *Root) File(name string, from io.Reader, a Attributes) error {
	return r.replace(name, func(host string) error {
		f, err := os.OpenFile(host, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, from)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		return settle(host, a)
	})
}

// Symlink makes a symbolic link.
func (r *Root) Symlink(name, target string, a Attributes) error {
	return r.replace(name, func(host string) error {
		if err := os.Symlink(target, host); err != nil {
			return err
		}
		if err := os.Lchown(host, a.UID, a.GID); err != nil {
			return err
		}
		return setTime(host, a.ModTime)
	})
}

// Link makes another name of an existing file.
func (r *Root) Link(name, old string) error {
	return r.within(old, func(oldHost string) error {
		return r.replace(name, func(host string) error { return os.Link(oldHost, host) })
	})
}

// Node makes a device or a named pipe: kind is one of tar's.
func (r *Root) Node(name string, kind byte, major, minor int64, a Attributes) error {
	var format uint32
	switch kind {
	case tar.TypeBlock:
		format = unix.S_IFBLK
	case tar.TypeChar:
		format = unix.S_IFCHR
	default:
		format = unix.S_IFIFO
	}
	return r.replace(name, func(host string) error {
		if err := unix.Mknod(host, format|0o600, int(unix.Mkdev(uint32(major), uint32(minor)))); err != nil {
			return &fs.PathError{Op: "mknod", Path: name, Err: err}
		}
		return settle(host, a)
	})
}

// RemoveAll removes an entry with all below it.
func (r *Root) RemoveAll(name string) error {
	err := r.within(name, os.RemoveAll)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List names the entries of a directory.
func (r *Root) List(name string) ([]string, error) {
	dir, err := r.directory(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// IsDir says whether there is a directory of the name, links followed.
func (r *Root) IsDir(name string) bool {
	dir, err := r.directory(name)
	if err != nil {
		return false
	}
	return dir.Close() == nil
}

func (r *Root) replace(name string, create func(host string) error) error {
	return r.within(name, func(host string) error {
		info, err := os.Lstat(host)
		switch {
		case err == nil && info.IsDir():
			return &fs.PathError{Op: "write", Path: name, Err: ErrDirectory}
		case err == nil:
			err = os.Remove(host)
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		}
		if err != nil {
			return err
		}
		return create(host)
	})
}

// settle gives a new entry that is no symbolic link its attributes. The owner
// comes first: a change of it clears the setuid bit and the capabilities.
func settle(host string, a Attributes) error {
	if err := os.Lchown(host, a.UID, a.GID); err != nil {
		return err
	}
	if err := os.Chmod(host, a.Mode); err != nil {
		return err
	}
	for name, value := range a.Xattrs {
		if err := unix.Lsetxattr(host, name, []byte(value), 0); err != nil && err != unix.ENOTSUP {
			return &fs.PathError{Op: "set attribute " + name, Path: host, Err: err}
		}
	}
	return setTime(host, a.ModTime)
}

func setTime(host string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	spec := unix.NsecToTimespec(t.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, host, []unix.Timespec{spec, spec}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set time", Path: host, Err: err}
	}
	return nil
}
