package processtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the weir program, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-processtest-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755) // builds run as another user when this is root
	}
	if err == nil {
		binary = filepath.Join(dir, "weir")
		build := exec.Command("go", "build", "-o", binary, "github.com/weirbuild/weir/cli/weir")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err == nil {
		err = os.Unsetenv("WEIR_CAPABILITY")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build weir:", err)
		return 1
	}
	return m.Run()
}
