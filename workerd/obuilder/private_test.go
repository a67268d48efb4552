package obuilder_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// Who brings a login for an image gets it, also from the cache. Nobody else does: what
// is kept of a private image, and of steps on it, is no way around its registry.
func TestPrivateImages(t *testing.T) {
	b := newBench(t, "overlay")
	image := enginetest.ServePrivate(t)
	as := func(user, password string) obuilder.Request {
		t.Helper()
		r := obuilder.Request{Spec: b.parse("((from " + image + ") (shell /bin/sh -c) (run (shell \"echo ran\")))")}
		if user != "" {
			var err error
			if r.Logins, err = logins.Of(map[string][]byte{logins.Secret: enginetest.DockerConfig(image, user, password)}); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	const refused = "the registry refuses access"
	b.fails(as("", ""), refused)
	if _, log := b.build(as(enginetest.Ann, enginetest.AnnPassword)); !strings.Contains(log, "\nran\n---> saved as ") {
		t.Errorf("the log is\n%s", log)
	}
	if _, log := b.build(as(enginetest.Ann, enginetest.AnnPassword)); strings.Contains(log, "saved as") || !strings.Contains(log, "\nran\n---> using ") {
		t.Errorf("the second log is\n%s", log)
	}
	b.fails(as("", ""), refused)
	b.fails(as(enginetest.Bob, enginetest.BobPassword), refused)
	b.fails(as(enginetest.Ann, "hunter2-guessed"), refused)
	nowhereIn(t, b.root, "hunter2")
}

// nowhereIn checks that no file has a text in it.
func nowhereIn(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			t.Errorf("%q is in %s", text, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
