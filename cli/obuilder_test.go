package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeSpec(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.spec")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestOBuilderCheck(t *testing.T) {
	good, bad := writeSpec(t, "((from a))"), writeSpec(t, "((from a)\n (rnu (shell b)))")
	if code, out, said := run(t, "obuilder", "check", good); code != exitOK || out+said != "" {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
	code, _, said := run(t, "obuilder", "check", bad, good, bad+"x")
	if code != exitUsage || !strings.Contains(said, bad+":2:2: unknown operation rnu: did you mean run?") || !strings.Contains(said, bad+"x: no such file") {
		t.Errorf("exit code %d, %q", code, said)
	}
	var errOut bytes.Buffer
	code = Main(t.Context(), []string{"obuilder", "check", "-"}, strings.NewReader("(from a)"), &bytes.Buffer{}, &errOut)
	if code != exitUsage || !strings.Contains(errOut.String(), "standard input:1:1: this is a single operation") {
		t.Errorf("exit code %d, %q", code, errOut.String())
	}
}

func TestOBuilderFmt(t *testing.T) {
	const want = "((from a) ; why\n (run (shell \"b c\"))\n)\n"
	file := writeSpec(t, "((from a) ; why\n(run(shell \"b c\")))")
	if code, out, said := run(t, "obuilder", "fmt", file); code != exitOK || out != want {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
	for range 2 {
		if code, out, said := run(t, "obuilder", "fmt", "-w", file); code != exitOK || out+said != "" {
			t.Errorf("exit code %d, %q, %q", code, out, said)
		}
		text, err := os.ReadFile(file)
		if err != nil || string(text) != want {
			t.Errorf("%q, %v", text, err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOBuilderDockerfile(t *testing.T) {
	file := writeSpec(t, "((from a) (run (cache (c (target /c))) (shell b)))")
	if code, out, said := run(t, "obuilder", "dockerfile", file); code != exitOK || out != "FROM a\nRUN b\n" {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
	const want = "FROM a\nRUN --mount=type=cache,id=c,target=/c,uid=0 b\n"
	if code, out, said := run(t, "obuilder", "dockerfile", "--buildkit", file); code != exitOK || out != want {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
	file = writeSpec(t, "((from a) (env B \"c\\nd\"))")
	if code, out, said := run(t, "obuilder", "dockerfile", file); code != exitUsage || out != "" || !strings.Contains(said, file+":1:11: a Dockerfile cannot say") {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
}
