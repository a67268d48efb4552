// Package overlay keeps trees as layers of overlayfs: a tree is what its step
// changed, above its base. Beginning one costs a mount, whatever the base's size.
//
// Mounts are made with fsopen and its sisters (Linux 6.8): the options of mount
// hold some 45 layers, this 500. It needs root, and a directory on a file system
// that can be an upper layer (ext4, xfs, btrfs, tmpfs).
package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/depot"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// MaxLayers is how many layers the kernel takes.
const MaxLayers = 500

// Store is an open store. The tree of an id is a directory with its layer in fs
// and, in base, the id that it is based on.
type Store struct{ *depot.Depot }

var _ obuilder.Store = (*Store)(nil)

// Open opens the store in the directory root, and makes it when it is missing.
// It fails where overlayfs cannot be used.
func Open(root string) (*Store, error) {
	if err := unmountBelow(root); err != nil {
		return nil, fmt.Errorf("open store %s: %w", root, err)
	}
	d, err := depot.Open(root)
	if err != nil {
		return nil, err
	}
	s := &Store{d}
	if err := s.try(); err != nil {
		return nil, errors.Join(fmt.Errorf("use overlayfs in %s: %w: choose the copy store, or a directory on ext4, xfs or btrfs", root, err), s.Close())
	}
	return s, nil
}

// try makes one mount.
func (s *Store) try() error {
	m, err := s.begin()
	if err != nil {
		return err
	}
	lower := filepath.Join(m.dir, "lower")
	if err := errors.Join(os.Mkdir(lower, 0o700), m.mount([]string{lower}, true)); err != nil {
		return errors.Join(err, m.end())
	}
	return m.end()
}

// Create implements obuilder.Store.
func (s *Store) Create(id, base string) (obuilder.Draft, error) {
	m, err := s.begin()
	if err != nil {
		return nil, fmt.Errorf("create tree: %w", err)
	}
	d := &draft{store: s, id: id, base: base, mount: m}
	if base == "" {
		return d, nil
	}
	layers, err := s.layers(base)
	if err == nil {
		err = m.mount(layers, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create tree: %w", err), d.Discard())
	}
	return d, nil
}

// layers are the directories that make a tree, the uppermost first.
func (s *Store) layers(id string) ([]string, error) {
	var all []string
	for id != "" {
		base, err := os.ReadFile(filepath.Join(s.Tree(id), "base"))
		if err != nil {
			return nil, err
		}
		all = append(all, filepath.Join(s.Tree(id), "fs"))
		if len(all) > MaxLayers {
			return nil, obuilder.Failed("the build has more than %d steps, the most that overlayfs can stack: put some in one, or copy the result of a nested build", MaxLayers)
		}
		id = string(base)
	}
	return all, nil
}

// draft is a tree that is being made.
type draft struct {
	store    *Store
	id, base string
	*mount
}

// Dir is the merged tree, or the layer itself where nothing is below it.
func (d *draft) Dir() string {
	if d.base == "" {
		return d.upper
	}
	return d.merged
}

func (d *draft) Commit() error {
	if err := d.unmount(); err != nil {
		return errors.Join(fmt.Errorf("keep tree: %w", err), d.Discard())
	}
	layer := filepath.Join(d.dir, "layer")
	err := os.WriteFile(filepath.Join(layer, "base"), []byte(d.base), 0o600)
	if err == nil {
		err = d.store.Keep(d.id, layer)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep tree: %w", err), d.Discard())
	}
	return d.end()
}

func (d *draft) Discard() error { return d.end() }

// Open implements obuilder.Store.
func (s *Store) Open(id string) (obuilder.View, error) {
	layers, err := s.layers(id)
	if err != nil {
		return nil, fmt.Errorf("open tree %s: %w", id, err)
	}
	if len(layers) == 1 {
		return plain(layers[0]), nil
	}
	m, err := s.begin()
	if err != nil {
		return nil, fmt.Errorf("open tree %s: %w", id, err)
	}
	if err := m.mount(layers, false); err != nil {
		return nil, errors.Join(fmt.Errorf("open tree %s: %w", id, err), m.end())
	}
	return view{m}, nil
}

type plain string

func (v plain) Dir() string  { return string(v) }
func (v plain) Close() error { return nil }

type view struct{ m *mount }

func (v view) Dir() string  { return v.m.merged }
func (v view) Close() error { return v.m.end() }

// Cache implements obuilder.Store.
func (s *Store) Cache(name string, owner spec.User) (obuilder.Draft, error) {
	c, err := s.Depot.Cache(name)
	if err != nil {
		return nil, err
	}
	m, err := s.begin()
	if err != nil {
		return nil, fmt.Errorf("copy cache %s: %w", name, err)
	}
	d := &cacheDraft{cache: c, name: name, mount: m}
	d.version, d.below = c.Begin()
	if len(d.below) > 0 {
		err = m.mount(d.below, true)
	} else {
		err = os.Chown(m.upper, int(owner.UID), int(owner.GID))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy cache %s: %w", name, err), d.Discard())
	}
	return d, nil
}

// unmountBelow removes the mounts that an earlier process left.
func unmountBelow(root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(unescape(fields[4]), root+"/work/") {
			continue
		}
		if err := unix.Unmount(unescape(fields[4]), unix.MNT_DETACH); err != nil {
			return &fs.PathError{Op: "unmount", Path: fields[4], Err: err}
		}
	}
	return nil
}

// unescape reads a path of mountinfo.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
