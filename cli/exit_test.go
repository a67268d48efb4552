package cli

import (
	"fmt"
	"strings"
	"testing"
)

// The README has every exit code that the help lists, in the same words.
func TestReadmeHasTheExitCodes(t *testing.T) {
	section := readmeSection(t, "A CI step")
	codes := 0
	for line := range strings.Lines(exitHelp) {
		code, meaning, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			continue
		}
		codes++
		if row := fmt.Sprintf("| %s | %s |\n", code, meaning); !strings.Contains(section, row) {
			t.Errorf("the README lacks %q", row)
		}
	}
	if rows := strings.Count(section, "\n| ") - 1; rows != codes || codes != 10 {
		t.Errorf("the README has %d exit codes, the help %d; want 10", rows, codes)
	}
}
