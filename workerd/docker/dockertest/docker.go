package dockertest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// Docker is a running Docker daemon, in a network namespace of its own.
type Docker struct {
	Host     string // DOCKER_HOST for its clients
	Bin      string // the directory of a docker program that fits
	Registry string // host:port of the registry, as the daemon sees it

	t    testing.TB
	root string
	cmd  *exec.Cmd
}

// The programs of Debian's package: another docker that PATH may find first has no
// builder of its own.
const (
	dockerd = "/usr/sbin/dockerd"
	docker  = "/usr/bin/docker"
)

// StartDocker runs Docker's daemon until the test's end. The registry is served to it,
// also in the place of Docker Hub.
func StartDocker(t testing.TB, registry http.Handler) *Docker {
	t.Helper()
	enginetest.NeedRoot(t)
	for _, program := range []string{dockerd, docker} {
		if _, err := os.Stat(program); err != nil {
			enginetest.Missing(t, "this test needs "+program+": apt-get install docker.io iptables")
		}
	}
	d := &Docker{t: t, Bin: filepath.Dir(docker), root: t.TempDir()}
	d.Host = "unix://" + filepath.Join(d.root, "docker.sock")
	listener, err := d.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	server := &http.Server{Handler: registry}
	served := make(chan struct{})
	go func() { // ends with the server
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close() // only its listener could fail
		<-served
	})
	d.until("dockerd to answer", func() bool {
		c := exec.Command(docker, "version")
		c.Env = []string{"DOCKER_HOST=" + d.Host}
		return c.Run() == nil
	})
	return d
}

// start starts the daemon in a new network namespace, and listens there.
func (d *Docker) start() (net.Listener, error) {
	type result struct {
		listener net.Listener
		err      error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // it is in another namespace for good: it ends with this goroutine
		l, err := d.startHere()
		done <- result{l, err}
	}()
	r := <-done
	return r.listener, r.err
}

func (d *Docker) startHere() (net.Listener, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.Registry = listener.Addr().String()
	if err := d.launch(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func (d *Docker) launch() error {
	log, err := os.Create(filepath.Join(d.root, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	config := filepath.Join(d.root, "daemon.json")
	text := fmt.Sprintf(`{"registry-mirrors": ["http://%s"], "experimental": true}`, d.Registry)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	d.cmd = exec.Command(dockerd, "--config-file", config, "--data-root", filepath.Join(d.root, "data"), "--exec-root", filepath.Join(d.root, "exec"),
		"--pidfile", filepath.Join(d.root, "pid"), "-H", d.Host)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return d.cmd.Start()
}

func (d *Docker) stop() {
	d.t.Helper()
	end(d.t, d.cmd, d.log)
}

func (d *Docker) log() string { return lastLines(filepath.Join(d.root, "log")) }

func (d *Docker) until(what string, holds func() bool) {
	d.t.Helper()
	until(d.t, what, holds, d.log)
}
