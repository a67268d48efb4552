package cli

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weirbuild/weir/"

// layers says what each folder may import of the others: data crosses them from
// left to right, imports point left only.
var layers = map[string][]string{
	"proto":     {"proto"},
	"fsm":       {"proto", "fsm"},
	"raftnode":  {"proto", "raftnode"},
	"scheduler": {"proto", "fsm", "raftnode", "scheduler"},
	"workerd":   {"proto", "workerd"},
	"cli":       {"proto", "fsm", "raftnode", "scheduler", "workerd", "cli"},
	"examples":  {"proto", "examples"},
}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		folder, ok := folderOf(path)
		if !ok || strings.HasSuffix(path, "test") { // a test's cluster has workers too
			continue
		}
		seen++
		for _, imported := range strings.Fields(imports) {
			other, ours := folderOf(imported)
			if ours && !slices.Contains(layers[folder], other) {
				t.Errorf("%s imports %s: %s may import %v only", path, imported, folder, layers[folder])
			}
		}
	}
	if seen < 20 {
		t.Errorf("go list named only %d packages of ours", seen)
	}
}

func folderOf(path string) (string, bool) {
	rest, ours := strings.CutPrefix(path, module)
	folder, _, _ := strings.Cut(rest, "/")
	folder, _, _ = strings.Cut(folder, ".")
	return folder, ours
}
