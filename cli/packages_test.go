package cli

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every package says what it promises and what it refuses to do.
func TestEveryPackageIsDocumented(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}|{{.Doc}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		path, doc, _ := strings.Cut(strings.TrimSpace(line), "|")
		if doc == "" && !strings.Contains(path, "/pb") {
			t.Errorf("package %s has no doc comment", path)
		}
	}
}

// No page is waiting for something to be filled in.
func TestNoPageHasAPlaceholder(t *testing.T) {
	pages := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		pages++
		text, err := os.ReadFile(path)
		for n, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "@@") {
				t.Errorf("%s:%d: %s", path, n+1, line)
			}
		}
		return err
	})
	if err != nil || pages < 5 {
		t.Errorf("%d pages were read: %v", pages, err)
	}
}
