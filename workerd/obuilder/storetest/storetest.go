// Package storetest tests implementations of obuilder.Store. It needs root.
package storetest

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// Open opens a store in a directory.
type Open func(root string) (obuilder.Store, error)

// Run tests what a store promises.
func Run(t *testing.T, open Open) {
	enginetest.NeedRoot(t)
	for name, test := range map[string]func(*suite){
		"keeps": keeps, "private": private, "changes": changes, "renames": renames, "discards": discards, "deep": deep,
		"caches": caches, "cache conflict": cacheConflict, "cache layers": cacheLayers, "restart": restart, "locked": locked,
	} {
		t.Run(name, func(t *testing.T) {
			s := &suite{T: t, root: t.TempDir(), open: open}
			s.start()
			t.Cleanup(s.stop)
			test(s)
		})
	}
}

type suite struct {
	*testing.T
	root  string
	open  Open
	store obuilder.Store
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) start() {
	s.Helper()
	var err error
	s.store, err = s.open(s.root)
	s.must(err)
}

func (s *suite) stop() {
	if s.store != nil {
		s.must(s.store.Close())
		s.store = nil
	}
}

// make commits a tree that do has changed.
func (s *suite) make(id, base string, do func(dir string)) {
	s.Helper()
	d, err := s.store.Create(id, base)
	s.must(err)
	do(d.Dir())
	s.must(d.Commit())
}

func (s *suite) write(path, content string) {
	s.Helper()
	s.must(os.WriteFile(path, []byte(content), 0o644))
}

// tree is what a kept tree has: paths, and the contents of files.
func (s *suite) tree(id string) map[string]string {
	s.Helper()
	v, err := s.store.Open(id)
	s.must(err)
	defer func() { s.must(v.Close()) }()
	return s.files(v.Dir())
}

func (s *suite) files(dir string) map[string]string {
	s.Helper()
	all := map[string]string{}
	s.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		all[path[len(dir)+1:]] = "/"
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			all[path[len(dir)+1:]] = string(content)
			return err
		}
		return nil
	}))
	return all
}

func (s *suite) want(id string, want map[string]string) {
	s.Helper()
	if got := s.tree(id); !maps.Equal(got, want) {
		s.Errorf("tree %s has %v, want %v", id, got, want)
	}
}

// keeps: a tree keeps everything, through two layers.
func keeps(s *suite) {
	when := time.Unix(1_000_000_000, 123)
	s.make("base", "", func(dir string) {
		s.must(os.Chmod(dir, 0o711))
		s.must(os.Mkdir(filepath.Join(dir, "d"), 0o755))
		s.write(filepath.Join(dir, "d/f"), "x")
		s.must(os.Link(filepath.Join(dir, "d/f"), filepath.Join(dir, "hard")))
		s.must(os.Symlink("/etc/passwd", filepath.Join(dir, "soft")))
		s.must(syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3))
		s.must(os.Chown(filepath.Join(dir, "d/f"), 5, 6))
		s.must(os.Chmod(filepath.Join(dir, "d/f"), 0o755|fs.ModeSetuid))
		s.must(os.Chtimes(filepath.Join(dir, "d/f"), when, when))
		s.must(syscall.Setxattr(filepath.Join(dir, "d"), "user.x", []byte("y"), 0))
	})
	s.make("next", "base", func(dir string) { s.write(filepath.Join(dir, "new"), "y") })
	v, err := s.store.Open("next")
	s.must(err)
	defer func() { s.must(v.Close()) }()
	info, err := os.Lstat(filepath.Join(v.Dir(), "d/f"))
	s.must(err)
	stat := info.Sys().(*syscall.Stat_t)
	if info.Mode() != 0o755|fs.ModeSetuid || stat.Uid != 5 || stat.Gid != 6 || !info.ModTime().Equal(when) {
		s.Errorf("d/f: %v, %d:%d, %v", info.Mode(), stat.Uid, stat.Gid, info.ModTime())
	}
	if target, err := os.Readlink(filepath.Join(v.Dir(), "soft")); err != nil || target != "/etc/passwd" {
		s.Errorf("soft: %s, %v", target, err)
	}
	if info, err := os.Lstat(filepath.Join(v.Dir(), "null")); err != nil || info.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice {
		s.Errorf("null: %v, %v", info, err)
	}
	if info, err := os.Stat(v.Dir()); err != nil || info.Mode().Perm() != 0o711 {
		s.Errorf("the root: %v, %v", info, err)
	}
	value := make([]byte, 10)
	if n, err := syscall.Getxattr(filepath.Join(v.Dir(), "d"), "user.x", value); err != nil || string(value[:n]) != "y" {
		s.Errorf("attribute %q, %v", value, err)
	}
}

// private: two drafts and their base do not see each other's changes.
func private(s *suite) {
	s.make("base", "", func(dir string) { s.write(filepath.Join(dir, "f"), "base") })
	a, err := s.store.Create("a", "base")
	s.must(err)
	b, err := s.store.Create("b", "base")
	s.must(err)
	for text, d := range map[string]obuilder.Draft{"a": a, "b": b} {
		f, err := os.OpenFile(filepath.Join(d.Dir(), "f"), os.O_WRONLY|os.O_APPEND, 0)
		s.must(err)
		_, err = f.WriteString(text)
		s.must(errors.Join(err, f.Close()))
	}
	s.must(a.Commit())
	s.must(b.Commit())
	s.want("a", map[string]string{"f": "basea"})
	s.want("b", map[string]string{"f": "baseb"})
	s.want("base", map[string]string{"f": "base"})
}

// changes: what is removed and replaced stays so above.
func changes(s *suite) {
	s.make("base", "", func(dir string) {
		for _, d := range []string{"gone", "emptied", "kept"} {
			s.must(os.Mkdir(filepath.Join(dir, d), 0o755))
			s.write(filepath.Join(dir, d, "f"), d)
		}
		s.write(filepath.Join(dir, "file"), "1")
	})
	s.make("next", "base", func(dir string) {
		s.must(os.RemoveAll(filepath.Join(dir, "gone")))
		s.must(os.RemoveAll(filepath.Join(dir, "emptied")))
		s.must(os.Mkdir(filepath.Join(dir, "emptied"), 0o755))
		s.must(os.Remove(filepath.Join(dir, "file")))
		s.must(os.Mkdir(filepath.Join(dir, "file"), 0o755))
		s.write(filepath.Join(dir, "file/f"), "2")
	})
	s.make("last", "next", func(dir string) { s.must(os.Chmod(filepath.Join(dir, "kept/f"), 0o600)) })
	want := map[string]string{"emptied": "/", "kept": "/", "kept/f": "kept", "file": "/", "file/f": "2"}
	s.want("next", want)
	s.want("last", want)
	v, err := s.store.Open("next")
	s.must(err)
	if info, err := os.Stat(filepath.Join(v.Dir(), "kept/f")); err != nil || info.Mode() != 0o644 {
		s.Errorf("a mode changed above shows below: %v, %v", info.Mode(), err)
	}
	s.must(v.Close())
}

// renames: a directory of the base can be renamed, with what is in it.
func renames(s *suite) {
	s.make("base", "", func(dir string) {
		s.must(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
		s.write(filepath.Join(dir, "a/b/f"), "1")
	})
	s.make("next", "base", func(dir string) { s.must(os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c"))) })
	s.make("last", "next", func(dir string) { s.write(filepath.Join(dir, "c/b/g"), "2") })
	s.want("last", map[string]string{"c": "/", "c/b": "/", "c/b/f": "1", "c/b/g": "2"})
}

func discards(s *suite) {
	s.make("base", "", func(string) {})
	d, err := s.store.Create("x", "base")
	s.must(err)
	s.write(filepath.Join(d.Dir(), "f"), "1")
	busy, err := os.Open(filepath.Join(d.Dir(), "f"))
	s.must(err)
	s.must(d.Discard()) // also while somebody has a file open
	s.must(busy.Close())
	if _, err := s.store.Open("x"); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("a discarded tree opens: %v", err)
	}
	if _, err := s.store.Create("y", "x"); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("a tree began with one that is not there: %v", err)
	}
	s.make("x", "base", func(dir string) { s.write(filepath.Join(dir, "g"), "2") })
	s.must(s.store.Delete("x"))
	s.must(s.store.Delete("x"))
	if ids, err := s.store.List(); err != nil || !slices.Equal(ids, []string{"base"}) {
		s.Errorf("kept: %v, %v", ids, err)
	}
}

// deep: 120 steps, one above the other.
func deep(s *suite) {
	last := ""
	want := map[string]string{}
	for i := range 120 {
		id := "step-" + strconv.Itoa(i)
		s.make(id, last, func(dir string) {
			s.write(filepath.Join(dir, strconv.Itoa(i)), id)
			s.write(filepath.Join(dir, "all"), id)
		})
		want[strconv.Itoa(i)], want["all"] = id, id
		last = id
	}
	s.want(last, want)
}

func (s *suite) cache(do func(dir string)) {
	s.Helper()
	d, err := s.store.Cache("some/odd: name", spec.User{UID: 7, GID: 8})
	s.must(err)
	do(d.Dir())
	s.must(d.Commit())
}

func (s *suite) wantCache(want map[string]string) {
	s.Helper()
	s.cache(func(dir string) {
		if got := s.files(dir); !maps.Equal(got, want) {
			s.Errorf("the cache has %v, want %v", got, want)
		}
	})
}

func caches(s *suite) {
	s.cache(func(dir string) {
		info, err := os.Stat(dir)
		s.must(err)
		stat := info.Sys().(*syscall.Stat_t)
		if len(s.files(dir)) != 0 || stat.Uid != 7 || stat.Gid != 8 || info.Mode().Perm() != 0o755 {
			s.Errorf("a new cache: %v, %d:%d, %v", info.Mode(), stat.Uid, stat.Gid, s.files(dir))
		}
		s.write(filepath.Join(dir, "a"), "1")
		s.write(filepath.Join(dir, "b"), "1")
	})
	s.cache(func(dir string) {
		s.must(os.Remove(filepath.Join(dir, "a"))) // must not come back
		s.write(filepath.Join(dir, "b"), "2")
		s.must(os.Chmod(dir, 0o700))
	})
	s.wantCache(map[string]string{"b": "2"})
	s.cache(func(dir string) {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			s.Errorf("the cache's mode is %v, %v", info.Mode(), err)
		}
	})
	d, err := s.store.Cache("some/odd: name", spec.User{})
	s.must(err)
	s.write(filepath.Join(d.Dir(), "c"), "3")
	s.must(d.Discard())
	s.wantCache(map[string]string{"b": "2"})
}

// cacheConflict: of two that began with one version, the first to end wins.
func cacheConflict(s *suite) {
	s.cache(func(dir string) { s.write(filepath.Join(dir, "f"), "0") })
	var drafts []obuilder.Draft
	for i := range 3 {
		d, err := s.store.Cache("some/odd: name", spec.User{})
		s.must(err)
		if got := s.files(d.Dir()); got["f"] != "0" {
			s.Errorf("copy %d: %v", i, got)
		}
		drafts = append(drafts, d)
		s.write(filepath.Join(d.Dir(), strconv.Itoa(i)), "")
	}
	s.must(drafts[1].Commit())
	s.must(drafts[0].Commit())
	if got := s.files(drafts[2].Dir()); got["f"] != "0" || len(got) != 2 {
		s.Errorf("a copy changed under its owner: %v", got)
	}
	s.must(drafts[2].Commit())
	s.wantCache(map[string]string{"f": "0", "1": ""})
}

// cacheLayers: many versions, however they are kept.
func cacheLayers(s *suite) {
	want := map[string]string{}
	for i := range 40 {
		s.cache(func(dir string) {
			s.write(filepath.Join(dir, strconv.Itoa(i)), "")
			want[strconv.Itoa(i)] = ""
			if i > 0 {
				s.must(os.Remove(filepath.Join(dir, strconv.Itoa(i-1))))
				delete(want, strconv.Itoa(i-1))
			}
		})
	}
	s.wantCache(want)
}

// restart: what was kept is there again, and what was not is gone, mounts too.
func restart(s *suite) {
	s.make("base", "", func(dir string) { s.write(filepath.Join(dir, "f"), "1") })
	s.make("next", "base", func(dir string) { s.write(filepath.Join(dir, "g"), "2") })
	s.cache(func(dir string) { s.write(filepath.Join(dir, "c"), "3") })
	d, err := s.store.Create("half", "next")
	s.must(err)
	s.write(filepath.Join(d.Dir(), "h"), "4")
	left, err := s.store.Cache("some/odd: name", spec.User{})
	s.must(err)
	s.write(filepath.Join(left.Dir(), "lost"), "5")
	_, err = s.store.Open("next")
	s.must(err)
	s.stop() // as if it had died: drafts and views were not ended
	s.start()
	if ids, err := s.store.List(); err != nil || !slices.Equal(ids, []string{"base", "next"}) {
		s.Errorf("kept: %v, %v", ids, err)
	}
	s.want("next", map[string]string{"f": "1", "g": "2"})
	s.wantCache(map[string]string{"c": "3"})
	if _, err := os.Stat(d.Dir()); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("half a tree was left: %v", err)
	}

	// After a crash of the machine only what was synced can be trusted.
	s.must(s.store.Sync())
	s.make("late", "next", func(string) {})
	s.cache(func(dir string) { s.write(filepath.Join(dir, "late"), "") })
	s.stop()
	s.must(os.WriteFile(filepath.Join(s.root, "boot"), []byte("another"), 0o600))
	s.start()
	if ids, err := s.store.List(); err != nil || !slices.Equal(ids, []string{"base", "next"}) {
		s.Errorf("after a crash of the machine: %v, %v", ids, err)
	}
	s.wantCache(map[string]string{})
}

func locked(s *suite) {
	if other, err := s.open(s.root); err == nil {
		s.must(other.Close())
		s.Error("a second store opened the same directory")
	}
}
