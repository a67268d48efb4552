// Package roomtest gives a test a small disk of its own that it may fill.
//
// It promises that nothing of the disk is left, however the test ends: the test
// runs in a process and a mount namespace of its own.
package roomtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

const envInside = "WEIR_TEST_SMALL_DISK"

// Disk runs test with the directory of an empty disk of so many bytes. It starts
// this test again in another process, so it must be all that the test does. Where
// the kernel allows no such disk, the test is skipped, or fails in CI.
func Disk(t *testing.T, size int64, test func(t *testing.T, dir string)) {
	t.Helper()
	if os.Getenv(envInside) == t.Name() {
		dir := t.TempDir()
		if err := syscall.Mount("weir-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
			enginetest.Missing(t, fmt.Sprintf("mount a small disk: %v", err))
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // it ends with the namespace anyway
		test(t, dir)
		return
	}
	again := exec.Command("/proc/self/exe", "-test.v", "-test.count=1", "-test.run=^"+regexp.QuoteMeta(t.Name())+"$")
	again.Env = append(os.Environ(), envInside+"="+t.Name())
	again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		again.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := again.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		t.Errorf("%s", out)
	case err != nil:
		enginetest.Missing(t, fmt.Sprintf("no mount namespace for a small disk: %v", err))
	case skipped.Match(out):
		t.Skipf("%s", out)
	}
}

var skipped = regexp.MustCompile(`(?m)^--- SKIP`)

// Fill writes to a file until the disk is full. Removing the file makes room again.
func Fill(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "filler")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return file
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
