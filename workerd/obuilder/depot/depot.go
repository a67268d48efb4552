// Package depot is the directory of a store: what keeping trees and caches has in
// common, however they are made.
//
// It promises that one process at a time uses a directory, that what appears
// under a kept name is whole, that nothing half-made is left after a crash, and
// that what a crash of the machine may have damaged is gone after it. It refuses
// to know what is in a tree.
package depot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Depot is an open directory.
type Depot struct {
	root string
	lock *os.File

	mu     sync.Mutex
	next   int
	caches map[string]*Cache
}

// The parts of the directory.
const (
	trees    = "trees"    // by id
	caches   = "caches"   // by the hash of their names
	work     = "work"     // private to a draft; emptied at start
	unsynced = "unsynced" // a mark for what the disk may not have yet
	bootFile = "boot"     // which boot of the machine the marks are of
)

// Open makes a directory and locks it, and removes what must not be trusted.
// Mounts of an earlier process below it must be gone.
func Open(root string) (*Depot, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	for _, dir := range []string{trees, caches, work, unsynced} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	// Trees have setuid programs of foreign images: nobody else may reach them.
	if err := os.Chmod(root, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	d := &Depot{root: root, caches: map[string]*Cache{}}
	if d.lock, err = lock(filepath.Join(root, "lock")); err != nil {
		return nil, fmt.Errorf("open store %s: %w", root, err)
	}
	if err := errors.Join(d.dropUnsynced(), d.empty(work)); err != nil {
		return nil, errors.Join(fmt.Errorf("clean store %s: %w", root, err), d.Close())
	}
	return d, nil
}

func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errors.New("another process uses it: wait for its end, or choose another directory")
	}
	return f, nil
}

// Close unlocks the directory.
func (d *Depot) Close() error { return d.lock.Close() }

// Root is the directory.
func (d *Depot) Root() string { return d.root }

// Tree is where a kept tree is, or would be.
func (d *Depot) Tree(id string) string { return filepath.Join(d.root, trees, id) }

// Has says whether a tree is kept.
func (d *Depot) Has(id string) bool {
	_, err := os.Lstat(d.Tree(id))
	return err == nil
}

// Work makes a new private directory.
func (d *Depot) Work() (string, error) {
	d.mu.Lock()
	d.next++
	dir := filepath.Join(d.root, work, strconv.Itoa(d.next))
	d.mu.Unlock()
	return dir, os.Mkdir(dir, 0o700)
}

// Keep moves a directory to the place of the tree id.
func (d *Depot) Keep(id, from string) error {
	if err := d.mark("tree-" + id); err != nil {
		return err
	}
	return os.Rename(from, d.Tree(id))
}

// Delete removes a tree. It is gone at once, whatever happens to us then.
func (d *Depot) Delete(id string) error {
	dir, err := d.Work()
	if err != nil {
		return err
	}
	err = os.Rename(d.Tree(id), filepath.Join(dir, "tree"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// List gives the ids of the kept trees.
func (d *Depot) List() ([]string, error) { return names(filepath.Join(d.root, trees)) }

// Sync brings everything kept so far to the disk.
func (d *Depot) Sync() error {
	marks, err := names(filepath.Join(d.root, unsynced))
	if err != nil || len(marks) == 0 {
		return err
	}
	if err := unix.Syncfs(int(d.lock.Fd())); err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	for _, m := range marks {
		err = errors.Join(err, os.Remove(filepath.Join(d.root, unsynced, m)))
	}
	return err
}

// mark notes that the disk may not have something. A file system that keeps the
// order of changes to directories has the mark if it has what is kept after it.
func (d *Depot) mark(name string) error {
	return os.WriteFile(filepath.Join(d.root, unsynced, name), nil, 0o600)
}

// dropUnsynced removes what is marked, if the machine has started anew since.
func (d *Depot) dropUnsynced() error {
	now, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	file := filepath.Join(d.root, bootFile)
	if then, err := os.ReadFile(file); err == nil && string(then) == string(now) {
		return nil
	}
	marks, err := names(filepath.Join(d.root, unsynced))
	if err != nil {
		return err
	}
	for _, m := range marks {
		dir := filepath.Join(d.root, trees, strings.TrimPrefix(m, "tree-"))
		if hash, ok := strings.CutPrefix(m, "cache-"); ok {
			dir = filepath.Join(d.root, caches, hash)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(d.root, unsynced, m)); err != nil {
			return err
		}
	}
	return os.WriteFile(file, now, 0o600)
}

func (d *Depot) empty(part string) error {
	all, err := names(filepath.Join(d.root, part))
	for _, name := range all {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.root, part, name)))
	}
	return err
}

func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, err
}
