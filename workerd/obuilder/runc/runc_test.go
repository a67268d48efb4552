package runc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/sandboxtest"
)

func open(t *testing.T, c Config) *Sandbox {
	t.Helper()
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSandbox(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, FastSync: true})
	sandboxtest.Run(t, s)
	for _, left := range []string{"bundles", "state", "secrets"} {
		if entries, err := os.ReadDir(filepath.Join(dir, left)); err != nil || len(entries) != 0 {
			t.Errorf("left in %s: %v, %v", left, entries, err)
		}
	}
}

// What a killed worker left running is ended by the next one.
func TestLeftContainers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	k := s.container(enginetest.BusyboxTree(t), obuilder.Command{Argv: []string{"/bin/sleep", "1000"}, Dir: "/",
		Secrets: []obuilder.Secret{{Target: "/s", Value: []byte("x")}}})
	if err := k.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := s.command(t.Context(), "run", "--detach", "--bundle", k.bundle, k.id).Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.path("state/half-made"), 0o700); err != nil {
		t.Fatal(err)
	}
	next, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.call(t.Context(), "state", k.id); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("the container is left: %v", err)
	}
	for _, part := range []string{"state", "bundles", "secrets"} {
		if entries, err := os.ReadDir(next.path(part)); err != nil || len(entries) != 0 {
			t.Errorf("left in %s: %v, %v", part, entries, err)
		}
	}
}
