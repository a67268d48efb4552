// Package fetchtest tests implementations of obuilder.Fetcher, and makes images
// for other tests. It needs root, as fetching does.
package fetchtest

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder"
)

// Publish puts an image where the returned fetcher finds it under ref.
type Publish func(t *testing.T, img v1.Image) (f obuilder.Fetcher, ref string)

// Run tests what a fetcher promises.
func Run(t *testing.T, publish Publish) {
	if os.Getuid() != 0 && os.Getenv("WEIR_NO_SKIP") == "" {
		t.Skip("unpacking images needs root")
	}
	t.Run("layers", func(t *testing.T) { testLayers(t, publish) })
	t.Run("links", func(t *testing.T) { testLinks(t, publish) })
	t.Run("kinds", func(t *testing.T) { testKinds(t, publish) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, publish) })
}

func fetch(t *testing.T, publish Publish, img v1.Image) (string, obuilder.Image) {
	t.Helper()
	f, ref := publish(t, img)
	dir := t.TempDir()
	got, err := f.Fetch(t.Context(), ref, nil, dir, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return dir, got
}

// files are the paths of a tree with the contents of regular files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := path[len(dir)+1:]
		all[name] = d.Type().String()
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			all[name] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func testLayers(t *testing.T, publish Publish) {
	// A file of the lower layer where the upper one has a file in a directory.
	dir, got := fetch(t, publish, Image(t, nil, []Entry{File("x", "1", 0o644)}, []Entry{File(".wh.x", "", 0), File("x/y", "2", 0o644)}))
	if all := files(t, dir); all["x/y"] != "2" {
		t.Errorf("a directory in a file's place: %v", all)
	}
	if got.Env != nil {
		t.Errorf("environment %v", got.Env)
	}
	dir, got = fetch(t, publish, Image(t, []string{"PATH=/bin", "A=b c"},
		[]Entry{Dir("a/", 0o755), File("a/gone", "1", 0o644), File("a/stays", "1", 0o644), File("a/new", "1", 0o644),
			File("o/below", "1", 0o644), File("f/file", "1", 0o644)},
		[]Entry{File("a/.wh.gone", "", 0), File("a/new", "2", 0o600), File("o/beside", "2", 0o644), File("o/.wh..wh..opq", "", 0),
			File("f", "2", 0o644)},
	))
	want := map[string]string{"a": "d---------", "a/stays": "1", "a/new": "2", "o": "d---------", "o/beside": "2", "f": "2"}
	all := files(t, dir)
	for name, content := range want {
		if all[name] != content {
			t.Errorf("%s is %q, want %q", name, all[name], content)
		}
	}
	if len(all) != len(want) {
		t.Errorf("the tree is %v", all)
	}
	if !slices.Equal(got.Env, []string{"PATH=/bin", "A=b c"}) || len(got.Digest) != len("sha256:")+64 {
		t.Errorf("image %+v", got)
	}
}

// Layers cannot write outside of the tree, through links of their own either.
func testLinks(t *testing.T, publish Publish) {
	dir, _ := fetch(t, publish, Image(t, nil,
		[]Entry{Link(tar.TypeSymlink, "abs", "/real"), Link(tar.TypeSymlink, "up", "../../../../real"), Dir("real", 0o755)},
		[]Entry{File("abs/a", "1", 0o644), File("up/b", "2", 0o644), File("../../../real/c", "3", 0o644),
			Link(tar.TypeLink, "hard", "abs/a"), File("real/.wh..wh..other", "", 0)},
	))
	all := files(t, dir)
	for name, content := range map[string]string{"real/a": "1", "real/b": "2", "real/c": "3", "hard": "1", "abs": "L---------", "up": "L---------"} {
		if all[name] != content {
			t.Errorf("%s is %q, want %q; the tree is %v", name, all[name], content, all)
		}
	}
	a, err := os.Stat(filepath.Join(dir, "real/a"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(filepath.Join(dir, "hard")); err != nil || !os.SameFile(a, b) {
		t.Errorf("the hard link is another file: %v", err)
	}
}

// capability is cap_net_raw=ep as the file system keeps it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func testKinds(t *testing.T, publish Publish) {
	when := time.Unix(1_000_000_000, 0)
	kinds := []Entry{
		{tar.Header{Name: "dir", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 5, Gid: 6, ModTime: when}, ""},
		{tar.Header{Name: "dir/suid", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, ModTime: when}, "x"},
		{tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
		{tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600}, ""},
		{tar.Header{Name: "capable", Typeflag: tar.TypeReg, Mode: 0o755, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.trusted.overlay.opaque": "y"}}, "x"},
	}
	dir, _ := fetch(t, publish, Image(t, nil, kinds))
	for name, want := range map[string]struct {
		mode     fs.FileMode
		uid, gid uint32
	}{
		"dir": {fs.ModeDir | fs.ModeSticky | 0o777, 5, 6}, "dir/suid": {fs.ModeSetuid | 0o755, 7, 8},
		"null": {fs.ModeDevice | fs.ModeCharDevice | 0o666, 0, 0}, "pipe": {fs.ModeNamedPipe | 0o600, 0, 0},
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		stat := info.Sys().(*syscall.Stat_t)
		if info.Mode() != want.mode || stat.Uid != want.uid || stat.Gid != want.gid {
			t.Errorf("%s: %v, %d:%d", name, info.Mode(), stat.Uid, stat.Gid)
		}
		if want.uid != 0 && !info.ModTime().Equal(when) {
			t.Errorf("%s: time %v", name, info.ModTime())
		}
	}
	value := make([]byte, 100)
	if n, err := unix.Lgetxattr(filepath.Join(dir, "capable"), "security.capability", value); err != nil || string(value[:n]) != capability {
		t.Errorf("capability %q, %v", value[:max(n, 0)], err)
	}
	if n, err := unix.Lgetxattr(filepath.Join(dir, "capable"), "trusted.overlay.opaque", value); err == nil {
		t.Errorf("an image set an attribute of overlayfs to %q", value[:n])
	}
}

func testCancel(t *testing.T, publish Publish) {
	f, ref := publish(t, Image(t, nil, []Entry{File("a", "1", 0o644)}))
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := f.Fetch(ctx, ref, nil, t.TempDir(), io.Discard); !errors.Is(err, stopped) {
		t.Errorf("a cancelled fetch: %v", err)
	}
}
