package dockertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// BuildKit is a running buildkitd.
type BuildKit struct {
	Addr string
	Bin  string // the directory of buildkitd and buildctl

	t    testing.TB
	root string
	cmd  *exec.Cmd
}

// configuration keeps the daemon from collecting what tests have just made, and
// lets it find images of Docker Hub in the test's registry.
const configuration = `
[worker.oci]
  reservedSpace = "64MB"
  maxUsedSpace = "4GB"
  minFreeSpace = "64MB"
[registry."docker.io"]
  mirrors = ["%[1]s"]
[registry."%[1]s"]
  http = true
`

// StartBuildKit runs buildkitd until the test's end. It finds images of Docker Hub
// in the registry at mirror, a host:port.
func StartBuildKit(t testing.TB, mirror string) *BuildKit {
	t.Helper()
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	b := &BuildKit{t: t, Bin: programs(t), root: t.TempDir()}
	b.Addr = "unix://" + filepath.Join(b.root, "bk.sock")
	if err := os.WriteFile(filepath.Join(b.root, "buildkitd.toml"), fmt.Appendf(nil, configuration, mirror), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// programs finds what .ci/deps has built.
func programs(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	module, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../.ci/buildkit/go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`github.com/moby/buildkit (v[0-9.]+)`).FindSubmatch(module)
	if version == nil {
		t.Fatal(".ci/buildkit/go.mod names no version of BuildKit")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "weir", "buildkit-"+string(version[1]))
	if _, err := os.Stat(filepath.Join(dir, "buildkitd")); err != nil {
		enginetest.Missing(t, "this test needs BuildKit, which `make engines` builds in some minutes")
	}
	return dir
}

// Start starts the daemon, again after Stop or Kill.
func (b *BuildKit) Start() {
	b.t.Helper()
	log, err := os.OpenFile(filepath.Join(b.root, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(filepath.Join(b.Bin, "buildkitd"), "--root", filepath.Join(b.root, "root"), "--addr", b.Addr,
		"--config", filepath.Join(b.root, "buildkitd.toml"), "--oci-worker=true", "--containerd-worker=false", "--oci-worker-snapshotter=overlayfs")
	b.cmd.Env = append(os.Environ(), "BUILDKIT_STEP_LOG_MAX_SIZE=-1", "BUILDKIT_STEP_LOG_MAX_SPEED=-1")
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.until("buildkitd to answer", func() bool {
		return exec.Command(filepath.Join(b.Bin, "buildctl"), "--addr", b.Addr, "debug", "workers").Run() == nil
	})
}

// Stop ends the daemon.
func (b *BuildKit) Stop() {
	b.t.Helper()
	if b.cmd == nil {
		return
	}
	end(b.t, b.cmd, b.log)
	b.cmd = nil
}

// Root is the directory of all that the daemon keeps.
func (b *BuildKit) Root() string { return filepath.Join(b.root, "root") }

func (b *BuildKit) log() string { return lastLines(filepath.Join(b.root, "log")) }

func (b *BuildKit) until(what string, holds func() bool) {
	b.t.Helper()
	until(b.t, what, holds, b.log)
}
