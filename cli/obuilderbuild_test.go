package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// The example of the language, as its author would build it.
func TestOBuilderBuild(t *testing.T) {
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	mirror := "docker.io=http://" + enginetest.ServeBusybox(t)
	dir := t.TempDir()
	build := func(args ...string) (int, string, string) {
		return run(t, append([]string{"obuilder", "build", "--dir", dir, "--registry-mirror", mirror}, args...)...)
	}
	ids := regexp.MustCompile(`[0-9a-f]{64}`)
	var built string
	for _, note := range []string{"---> saved as", "---> using"} {
		code, out, said := build("../examples/obuilder/hello.spec", "../examples/obuilder")
		if code != exitOK || !strings.Contains(out, "\nHello, world!\n"+note) || !regexp.MustCompile(`^weir: built [0-9a-f]{64}\n$`).MatchString(said) {
			t.Fatalf("exit code %d, %s\n%s", code, said, out)
		}
		if built != "" && ids.FindString(said) != built {
			t.Errorf("built %s, then %s", built, said)
		}
		built = ids.FindString(said)
	}

	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PASSED", "from outside")
	spec := writeSpec(t, `((from busybox) (shell /bin/sh -c) (run (secrets (pw (target /pw))) (shell "wc -c < /pw; cat /pw; echo $PASSED; exit 7")))`)
	code, out, said := build(spec, "--secret", "pw:"+secret, "--pass-env", "PASSED")
	if code != exitBuildFailed || !strings.Contains(out, "\n8\n***\nfrom outside\n") || !strings.Contains(said, spec+": line 1: the command exited with code 7") {
		t.Errorf("exit code %d, %s\n%s", code, said, out)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{spec}, exitBuildFailed, `the secret "pw" has no value`},
		{[]string{spec, "--secret", "pw"}, exitUsage, "want ID:FILE"},
		{[]string{spec, "--secret", "pw:/nosuch"}, exitUsage, "read the secret pw"},
		{[]string{spec, "/nosuch"}, exitUsage, "is not a directory"},
		{[]string{spec, "--store", "copy", "--secret", "pw:" + secret}, exitUsage, "is of the kind overlay"},
		{[]string{spec, "--registry-mirror", "x"}, exitUsage, "write REGISTRY=URL"},
	} {
		if code, _, said := build(c.args...); code != c.code || !strings.Contains(said, c.says) {
			t.Errorf("%v: exit code %d, %s", c.args, code, said)
		}
	}
}
