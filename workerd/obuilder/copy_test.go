package obuilder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listing shows what a copy made: kind and mode, owner, path, content or target.
func (b *bench) listing(id string, below ...string) string {
	b.Helper()
	v, err := b.store.Open(id)
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	var all strings.Builder
	for _, top := range below {
		err := filepath.Walk(filepath.Join(v.Dir(), top), func(path string, info os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			text := ""
			if info.Mode().IsRegular() {
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				text = " " + string(content)
			} else if info.Mode()&os.ModeSymlink != 0 {
				if text, err = os.Readlink(path); err != nil {
					return err
				}
				text = " -> " + text
			}
			stat := info.Sys().(*syscall.Stat_t)
			fmt.Fprintf(&all, "%v %d:%d %s%s\n", info.Mode(), stat.Uid, stat.Gid, path[len(v.Dir()):], text)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return all.String()
}

func TestCopy(t *testing.T) {
	onEach(t, func(b *bench) {
		dir := b.writeFiles(map[string]string{
			"top": "t", "dir/file": "f", "dir/prog": "p", "dir/skip/x": "x", "dir/sub/skip": "y", "dir/sub/keep": "k", "dir/empty/": "",
			"dir/link": "->../nowhere", "linked": "->dir",
		})
		when := time.Unix(1_000_000_000, 0)
		for name, mode := range map[string]os.FileMode{"dir/prog": 0o611, "top": 0o600, "dir": 0o700} {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				b.Fatal(err)
			}
			if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
				b.Fatal(err)
			}
		}
		r := b.request(`(user (uid 5) (gid 6)) (workdir /w) (copy (src top dir linked /dir/sub) (dst new/in/) (exclude skip))
			(copy (src dir/prog) (dst /p)) (copy (src dir/sub) (dst renamed))`)
		r.Context = dir
		id, _ := b.build(r)
		want := `drwxr-xr-x 5:6 /w
drwxr-xr-x 5:6 /w/new
drwxr-xr-x 5:6 /w/new/in
drwxr-xr-x 5:6 /w/new/in/dir
drwxr-xr-x 5:6 /w/new/in/dir/empty
-rw-r--r-- 5:6 /w/new/in/dir/file f
Lrwxrwxrwx 5:6 /w/new/in/dir/link -> ../nowhere
-rwxr-xr-x 5:6 /w/new/in/dir/prog p
drwxr-xr-x 5:6 /w/new/in/dir/sub
-rw-r--r-- 5:6 /w/new/in/dir/sub/keep k
Lrwxrwxrwx 5:6 /w/new/in/linked -> dir
drwxr-xr-x 5:6 /w/new/in/sub
-rw-r--r-- 5:6 /w/new/in/sub/keep k
-rw-r--r-- 5:6 /w/new/in/top t
drwxr-xr-x 5:6 /w/renamed
-rw-r--r-- 5:6 /w/renamed/keep k
-rw-r--r-- 5:6 /w/renamed/skip y
-rwxr-xr-x 5:6 /p p
`
		if got := b.listing(id, "w", "p"); got != want {
			b.Errorf("copied:\n%s", got)
		}
		v, err := b.store.Open(id)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		for _, name := range []string{"w/new/in/dir", "w/new/in/top", "w/new/in/dir/prog", "p"} {
			if info, err := os.Stat(filepath.Join(v.Dir(), name)); err != nil || !info.ModTime().Equal(when) {
				b.Errorf("%s: %v, %v", name, info.ModTime(), err)
			}
		}
	})
}

// A copy goes where a process in the tree would go, through its links.
func TestCopyIntoLinks(t *testing.T) {
	b := newBench(t, "overlay")
	r := b.request(`(run (shell "mkdir -p /real/dir && ln -s /real /abs && ln -s ../../../real/dir /up && ln -s /real/dir /real/f && echo old > /real/g"))
		(copy (src .) (dst /abs)) (copy (src d) (dst /up/)) (copy (src f) (dst /abs/g)) (workdir /abs) (copy (src d/e) (dst h)) (copy (src .) (dst /))`)
	r.Context = b.writeFiles(map[string]string{"f": "1", "d/e": "2"})
	id, _ := b.build(r)
	want := "drwxr-xr-x 0:0 /real\ndrwxr-xr-x 0:0 /real/d\n-rw-r--r-- 0:0 /real/d/e 2\ndrwxr-xr-x 0:0 /real/dir\ndrwxr-xr-x 0:0 /real/dir/d\n" +
		"-rw-r--r-- 0:0 /real/dir/d/e 2\n-rw-r--r-- 0:0 /real/f 1\n-rw-r--r-- 0:0 /real/g 1\n-rw-r--r-- 0:0 /real/h 2\n-rw-r--r-- 0:0 /f 1\n"
	if got := b.listing(id, "real", "f"); got != want {
		b.Errorf("copied:\n%s", got)
	}
}

func TestCopyRefuses(t *testing.T) {
	b := newBench(t, "overlay")
	dir := b.writeFiles(map[string]string{"f": "", "d/f": "", "out": "->/etc", "in": "->d", "special/x": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "special/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for steps, says := range map[string]string{
		`(copy (src nosuch) (dst /x))`:                                      `line 1: source "nosuch" is not there`,
		`(copy (src out/passwd) (dst /x))`:                                  "out is a symbolic link, which copies do not go through",
		`(copy (src in/f) (dst /x))`:                                        "in is a symbolic link",
		`(copy (src f/g) (dst /x))`:                                         "f is not a directory",
		`(copy (src special) (dst /x))`:                                     "special/pipe\" is a named pipe",
		`(copy (src f) (dst /bin))`:                                         "it is a directory: to copy into a directory end the destination with /",
		`(copy (src d) (dst /etc/passwd/d))`:                                "/etc/passwd",
		`(run (shell "ln -s /nowhere /l")) (copy (src d) (dst /l/))`:        "it is no directory, or a link to nothing",
		`(run (shell "ln -s /m /l; ln -s /l /m")) (copy (src f) (dst /l/))`: "too many levels of symbolic links",
	} {
		r := b.request(steps)
		r.Context = dir
		b.fails(r, says)
	}
	b.fails(b.request(`(copy (src f) (dst /x))`), "there is no context to copy from")
	b.nothingLeft()
}

// Content, names and the execute bit count; times, owners and other modes do not.
func TestWhatCopiesDependOn(t *testing.T) {
	b := newBench(t, "overlay")
	dir := b.writeFiles(map[string]string{"a/f": "1", "l": "->x"})
	file := filepath.Join(dir, "a/f")
	build := func() string {
		b.Helper()
		r := b.request(`(copy (src a l) (dst /d/) (exclude skip))`)
		r.Context = dir
		id, _ := b.build(r)
		return id
	}
	id := build()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)))
	must(os.Chmod(file, 0o600))
	must(os.Chown(file, 5, 5))
	must(os.WriteFile(filepath.Join(dir, "a/skip"), nil, 0o600))
	must(os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
	if build() != id {
		t.Error("it is another result though nothing that counts has changed")
	}
	seen := map[string]string{id: "the first"}
	for what, change := range map[string]func() error{
		"content":   func() error { return os.WriteFile(file, []byte("2"), 0o600) },
		"execute":   func() error { return os.Chmod(file, 0o700) },
		"a name":    func() error { return os.Rename(file, filepath.Join(dir, "a/g")) },
		"directory": func() error { return os.Mkdir(filepath.Join(dir, "a/d"), 0o700) },
		"a link":    func() error { return os.Symlink("y", filepath.Join(dir, "a/l")) },
	} {
		must(change())
		id := build()
		if seen[id] != "" {
			t.Errorf("after a change of %s it is the same result as after %s", what, seen[id])
		}
		seen[id] = what
		if what == "a name" {
			must(os.Rename(filepath.Join(dir, "a/g"), file))
		}
	}
}
