package cli

import (
	"os/exec"
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
