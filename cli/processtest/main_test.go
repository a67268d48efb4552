package processtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// binary is the weir program, built once.
var binary string

// private says that these processes have a mount namespace of their own.
var private = os.Getenv(privateEnv) != ""

const privateEnv = "WEIR_PROCESSTEST_PRIVATE"

func TestMain(m *testing.M) {
	hideMounts()
	os.Exit(run(m))
}

// hideMounts starts the tests again, in a mount namespace of their own where this
// is possible: what they mount goes with them, however they end.
func hideMounts() {
	unshare, err := exec.LookPath("unshare")
	if private || err != nil || exec.Command(unshare, "--mount", "true").Run() != nil {
		return
	}
	argv := append([]string{unshare, "--mount"}, os.Args...)
	err = syscall.Exec(unshare, argv, append(os.Environ(), privateEnv+"=1"))
	fmt.Fprintln(os.Stderr, "unshare the mounts:", err)
	os.Exit(1)
}

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
		err = errors.Join(os.Unsetenv("WEIR_CAPABILITY"), os.Unsetenv(privateEnv))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build weir:", err)
		return 1
	}
	return m.Run()
}
