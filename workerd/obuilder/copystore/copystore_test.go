package copystore_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/copystore"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(root string) (obuilder.Store, error) { return copystore.Open(root) })
}

// What a step does not touch is kept once.
func TestUntouchedFilesAreShared(t *testing.T) {
	enginetest.NeedRoot(t)
	s, err := copystore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, step := range []struct{ id, base string }{{"a", ""}, {"b", "a"}} {
		d, err := s.Create(step.id, step.base)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"same", "touched"} {
			if step.base == "" || name == "touched" { // with equal content and length
				if err := os.WriteFile(filepath.Join(d.Dir(), name), []byte("x"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := d.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"same": true, "touched": false} {
		a, err := os.Stat(filepath.Join(s.Tree("a"), name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.Stat(filepath.Join(s.Tree("b"), name))
		if err != nil || os.SameFile(a, b) != want {
			t.Errorf("%s is shared: %v, %v", name, !want, err)
		}
	}
}
