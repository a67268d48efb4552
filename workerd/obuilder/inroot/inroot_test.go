package inroot_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder/inroot"
)

func open(t *testing.T) (*inroot.Root, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, dir
}

func mine(mode os.FileMode) inroot.Attributes {
	return inroot.Attributes{Mode: mode, UID: os.Getuid(), GID: os.Getgid(), ModTime: time.Unix(1e9, 5)}
}

// No link in a tree leads out of it.
func TestLinksStayInside(t *testing.T) {
	r, dir := open(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"abs": "/real", "up": "../../../real", "out": outside, "file": "/real/target"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.MkdirAll("/real/deep", mine(0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"abs/a", "/up/b", "../../abs/c", "file"} {
		if err := r.File(name, strings.NewReader(name), mine(0o644)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for path, want := range map[string]string{"real/a": "abs/a", "real/b": "/up/b", "real/c": "../../abs/c", "file": "file"} {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if err := r.File("out/d", strings.NewReader(""), mine(0o644)); err == nil {
		t.Error("a file was written through a link that leads out")
	}
	if err := r.RemoveAll("out"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("removing a link removed its target: %v", err)
	}
	if err := r.MkdirAll("up/x/y", mine(0o750)); err != nil || !r.IsDir("/real/x/y") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}

func TestEntries(t *testing.T) {
	r, dir := open(t)
	if err := r.Directory("d", mine(0o750|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	if err := r.File("d/f", strings.NewReader("x"), mine(0o755|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	if err := r.Link("l", "d/f"); err != nil {
		t.Fatal(err)
	}
	if err := r.Symlink("s", "d/f", mine(0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Node("p", tar.TypeFifo, 0, 0, mine(0o600)); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"d": os.ModeDir | os.ModeSetgid | 0o750, "d/f": os.ModeSetuid | 0o755, "l": os.ModeSetuid | 0o755,
		"s": os.ModeSymlink | 0o777, "p": os.ModeNamedPipe | 0o600,
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
		}
		if name != "d" && !info.ModTime().Equal(time.Unix(1e9, 5)) { // its entries changed it
			t.Errorf("%s: time %v", name, info.ModTime())
		}
	}
	var a, b unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "d/f"), &a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(filepath.Join(dir, "l"), &b); err != nil || a.Ino != b.Ino {
		t.Errorf("the link is another file: %v", err)
	}
	if err := r.File("d", strings.NewReader(""), mine(0o644)); err == nil || !strings.Contains(err.Error(), "it is a directory") {
		t.Errorf("a file replaced a directory: %v", err)
	}
	if err := r.MkdirAll("d/f/g", mine(0o755)); err == nil {
		t.Error("a directory was made below a file")
	}
	if names, err := r.List("/"); err != nil || strings.Join(names, " ") != "d l p s" {
		t.Errorf("%v, %v", names, err)
	}
	if err := r.RemoveAll("d"); err != nil || r.IsDir("d") {
		t.Errorf("%v", err)
	}
	if err := r.RemoveAll("nothing/at/all"); err != nil {
		t.Error(err)
	}
}

// The kernel refuses to follow ".." while anything on the machine is renamed.
func TestLinksWhileOthersRename(t *testing.T) {
	root, dir := open(t)
	if err := os.MkdirAll(filepath.Join(dir, "real/dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../real/../real/dir", filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	a, b := filepath.Join(elsewhere, "a"), filepath.Join(elsewhere, "b")
	if err := os.WriteFile(a, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := os.Rename(a, b); err != nil {
				done <- err
				return
			}
			a, b = b, a
		}
	}()
	for range 20_000 {
		if err := root.MkdirAll("up", mine(0o755)); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
