package linux_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/linux"
)

func TestOpen(t *testing.T) {
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	dir := filepath.Join(t.TempDir(), "engine")
	open := func(kind string) error {
		e, err := linux.Open(t.Context(), linux.Config{Dir: dir, Store: kind})
		if err != nil {
			return err
		}
		return e.Close()
	}
	if err := open("zfs"); err == nil || !strings.Contains(err.Error(), "use auto, overlay or copy") {
		t.Errorf("an unknown kind: %v", err)
	}
	for _, kind := range []string{linux.Copy, "", linux.Copy} { // once copies, always copies
		if err := open(kind); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if err := open(linux.Overlay); err == nil || !strings.Contains(err.Error(), "is of the kind copy") {
		t.Errorf("another kind: %v", err)
	}
	e, err := linux.Open(t.Context(), linux.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := open(""); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("a second one: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
