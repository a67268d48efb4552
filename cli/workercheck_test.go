package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/machine"
)

func TestTellMachine(t *testing.T) {
	r := &machine.Report{
		Parts: []machine.Part{{Name: "git", OK: true, Says: "git version 2.39"}, {Name: "runc", Says: "not found", Mend: "install runc"}},
		Kinds: []machine.Kind{{Name: "command"}, {Name: "sandbox", Missing: []string{"runc"}}},
	}
	for _, c := range []struct {
		asked string
		code  int
	}{
		{"", 1}, {"command", 0}, {"sandbox", 1}, {"command sandbox", 1}, {"nosuch", exitUsage},
	} {
		var out bytes.Buffer
		if err := tellMachine(&out, r, strings.Fields(c.asked)); exitCode(err) != c.code {
			t.Errorf("%q: %v, want exit code %d\n%s", c.asked, err, c.code, out.String())
		}
		want := "git        ok       git version 2.39\nrunc       lacking  not found\n           to mend: install runc\n\n" +
			"command    jobs can be run\nsandbox    jobs cannot be run without runc\n"
		if c.code != exitUsage && out.String() != want {
			t.Errorf("it says\n%s", out.String())
		}
	}
}
