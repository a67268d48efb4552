// Package copystore keeps trees as plain directories: each is a copy of its base,
// and shares the files that its step did not touch with it by hard links. It
// works on any file system, and costs a copy of the base for each step.
package copystore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/depot"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
	"github.com/weirbuild/weir/workerd/obuilder/tree"
)

// Store is an open store.
type Store struct{ *depot.Depot }

var _ obuilder.Store = (*Store)(nil)

// Open opens the store in the directory root, and makes it when it is missing.
func Open(root string) (*Store, error) {
	d, err := depot.Open(root)
	if err != nil {
		return nil, err
	}
	return &Store{d}, nil
}

// Create implements obuilder.Store.
func (s *Store) Create(id, base string) (obuilder.Draft, error) {
	dir, err := s.Work()
	if err != nil {
		return nil, fmt.Errorf("create tree: %w", err)
	}
	d := &draft{store: s, id: id, work: dir, fs: filepath.Join(dir, "fs"), copied: map[string]stamp{}}
	if err := os.Mkdir(d.fs, 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("create tree: %w", err), d.Discard())
	}
	if base == "" {
		return d, nil
	}
	d.base = s.Tree(base)
	if err := tree.Copy(d.base, d.fs, d.note); err != nil {
		return nil, errors.Join(err, d.Discard())
	}
	return d, nil
}

// draft is a tree that is being made.
type draft struct {
	store    *Store
	id       string
	base     string // the directory of its base
	work, fs string
	copied   map[string]stamp
}

// stamp tells whether a file was touched: no change leaves its ctime alone.
type stamp struct {
	ino   uint64
	ctime unix.Timespec
}

func stampOf(path string) (stamp, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{stat.Ino, stat.Ctim}, nil
}

func (d *draft) note(path, copied string) error {
	s, err := stampOf(copied)
	d.copied[path] = s
	return err
}

func (d *draft) Dir() string { return d.fs }

// Commit shares the untouched files with the base and keeps the tree.
func (d *draft) Commit() error {
	for path, before := range d.copied {
		if err := d.share(path, before); err != nil {
			return errors.Join(fmt.Errorf("share files: %w", err), d.Discard())
		}
	}
	if err := d.store.Keep(d.id, d.fs); err != nil {
		return errors.Join(fmt.Errorf("keep tree: %w", err), d.Discard())
	}
	return os.RemoveAll(d.work)
}

// share puts the base's own file in the place of an untouched copy.
func (d *draft) share(path string, before stamp) error {
	file := filepath.Join(d.fs, path)
	now, err := stampOf(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && now != before {
		return nil
	}
	if err != nil {
		return err
	}
	shared := filepath.Join(d.work, "shared")
	err = os.Link(filepath.Join(d.base, path), shared)
	if errors.Is(err, syscall.EMLINK) {
		return nil // the file has as many names as it can: keep the copy
	}
	if err != nil {
		return err
	}
	return d.swap(shared, file)
}

// swap renames over a file and leaves its directory's time as it was.
func (d *draft) swap(shared, file string) error {
	var parent unix.Stat_t
	dir := filepath.Dir(file)
	if err := unix.Lstat(dir, &parent); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := os.Rename(shared, file); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{parent.Mtim, parent.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func (d *draft) Discard() error { return os.RemoveAll(d.work) }

// Open implements obuilder.Store.
func (s *Store) Open(id string) (obuilder.View, error) {
	if !s.Has(id) {
		return nil, fmt.Errorf("open tree %s: %w", id, fs.ErrNotExist)
	}
	return view(s.Tree(id)), nil
}

type view string

func (v view) Dir() string  { return string(v) }
func (v view) Close() error { return nil }

// Cache implements obuilder.Store.
func (s *Store) Cache(name string, owner spec.User) (obuilder.Draft, error) {
	c, err := s.Depot.Cache(name)
	if err != nil {
		return nil, err
	}
	dir, err := s.Work()
	if err != nil {
		return nil, fmt.Errorf("copy cache %s: %w", name, err)
	}
	version, layers := c.Begin()
	d := &cacheDraft{cache: c, name: name, version: version, work: dir, fs: filepath.Join(dir, "fs")}
	err = os.Mkdir(d.fs, 0o755)
	switch {
	case err != nil:
	case len(layers) > 0:
		err = tree.Copy(layers[0], d.fs, nil)
	default:
		err = os.Chown(d.fs, int(owner.UID), int(owner.GID))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy cache %s: %w", name, err), d.Discard())
	}
	return d, nil
}

// cacheDraft is a private copy of a cache.
type cacheDraft struct {
	cache    *depot.Cache
	name     string
	version  int
	work, fs string
}

func (d *cacheDraft) Dir() string { return d.fs }

func (d *cacheDraft) Commit() error {
	_, err := d.cache.Publish(d.name, d.version, d.fs, nil)
	return errors.Join(err, d.Discard())
}

func (d *cacheDraft) Discard() error { return errors.Join(os.RemoveAll(d.work), d.cache.End()) }
