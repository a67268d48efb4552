// Package enginetest has what tests of the build engine need: real parts, or a
// skip that says what is missing. With WEIR_NO_SKIP set, as in CI, it fails instead.
package enginetest

import (
	"archive/tar"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weirbuild/weir/workerd/obuilder/fetchtest"
)

// NeedRoot ends a test that is not root's.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "this test needs root")
	}
}

// Need ends a test where a program is missing, and gives its path.
func Need(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(t, "this test needs "+program+": apt-get install "+pkg)
	}
	return path
}

// Missing ends a test because of what is missing.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("WEIR_NO_SKIP") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// busybox are the entries of an image with the busybox program in it.
func busybox(t testing.TB) []fetchtest.Entry {
	t.Helper()
	program := Need(t, "busybox", "busybox-static")
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	applets, err := exec.Command(program, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	entries := []fetchtest.Entry{
		fetchtest.Dir("bin", 0o755), fetchtest.Dir("etc", 0o755), fetchtest.Dir("tmp", 0o1777),
		fetchtest.File("bin/busybox", string(content), 0o755),
		fetchtest.File("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644),
	}
	for name := range strings.FieldsSeq(string(applets)) {
		if name != "busybox" {
			entries = append(entries, fetchtest.Link(tar.TypeSymlink, "bin/"+name, "busybox"))
		}
	}
	return entries
}

// Busybox is a base image with a shell. Its commands are in /bin.
func Busybox(t testing.TB) v1.Image {
	return fetchtest.Image(t, []string{"PATH=/bin", "ORIGIN=busybox"}, busybox(t))
}

// ServeBusybox runs a registry that has library/busybox, and gives its address.
func ServeBusybox(t testing.TB) (host string) {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	host = strings.TrimPrefix(s.URL, "http://")
	ref, err := name.ParseReference(host+"/library/busybox", name.Insecure)
	if err == nil {
		err = remote.Write(ref, Busybox(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// BusyboxTree is the same image as a tree in a directory of the test's.
func BusyboxTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range busybox(t) {
		path := filepath.Join(dir, e.Name)
		var err error
		switch e.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(path, e.FileInfo().Mode())
		case tar.TypeSymlink:
			err = os.Symlink(e.Linkname, path)
		default:
			err = os.WriteFile(path, []byte(e.Content), e.FileInfo().Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
