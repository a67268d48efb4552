package selftest

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// patience is how long a build from nothing may take on a busy machine.
const patience = 14 * time.Minute

// The examples build this project as an OBuilder spec and, in part, as a Dockerfile. A second
// build of the commit goes to the worker that has it cached, and its log says so.
func TestBuildsItself(t *testing.T) {
	if os.Getenv("WEIR_SELFTEST") == "" {
		t.Skip("it takes minutes: make selftest")
	}
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	source := output(t, "git", "rev-parse", "--show-toplevel")
	images := serveGolang(t)
	daemon := dockertest.StartBuildKit(t, images)
	t.Setenv("PATH", daemon.Bin+":"+os.Getenv("PATH"))
	t.Setenv("GOPROXY", serveModules(t))
	t.Setenv("GOSUMDB", "off")
	c := start(t)
	url := serveHistory(t, source, c.dir)
	commit := output(t, "git", "-C", source, "rev-parse", "HEAD")
	for _, name := range []string{"one", "two"} {
		c.worker(name, "--allow-obuilder", "--registry-mirror", "docker.io=http://"+images,
			"--docker", "buildkit", "--buildkit-addr", daemon.Addr, "--allow-push", images, "--pass-env", "GOPROXY,GOSUMDB")
	}
	const path = "\tpath\tgithub.com/weirbuild/weir/examples/custom\n"
	for _, job := range []struct {
		name, built, cached string
		args                []string
	}{
		{"obuilder", "\nweir dev\n---> saved as ", "\nweir dev\n---> using ", []string{"--obuilder", filepath.Join(source, "examples/obuilder/weir.spec")}},
		// A small program, as this would compile everything once more.
		{"dockerfile", "\n" + path, "---> cached, its log again:\n" + path, []string{"--dockerfile", "examples/dockerfile/Dockerfile", "--build-arg", "PROGRAM=./examples/custom",
			"--build-arg", "GOPROXY=" + os.Getenv("GOPROXY"), "--build-arg", "GOSUMDB=off", "--push", images + "/weir:test"}},
	} {
		argv := append([]string{"submit", "--connect", "ci.cap", "--pool", "linux", "--repo", url, "--commit", commit, "--cache-hint", "weir-" + job.name}, job.args...)
		first, second := c.weir(argv...), c.weir(argv...)
		if !strings.Contains(first, job.built) || !strings.Contains(second, job.cached) {
			t.Errorf("%s: the logs are\n%s\nand\n%s", job.name, first, second)
		}
		if a, b := line(first, "Building on "), line(second, "Building on "); a != b {
			t.Errorf("%s: first %q, then %q", job.name, a, b)
		}
	}
}

// cluster is a cluster of processes with the pool linux and the client ci.
type cluster struct {
	*local.Cluster
	t   *testing.T
	dir string
}

func start(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-selftest-")
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		err = os.Chmod(dir, 0o755) // builds are checked out by another user
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "cluster"), 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "weir")
	output(t, "go", "build", "-o", binary, "github.com/weirbuild/weir/cli/weir")
	c := &cluster{t: t, dir: dir}
	if c.Cluster, err = local.Start(t.Context(), local.Config{Binary: binary, Profile: "default", Dir: filepath.Join(dir, "cluster")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		c.tellLogs()
	})
	admin := filepath.Join(c.Dir, "admin.cap")
	c.weir("pool", "create", "linux", "--connect", admin, "--worker-cap", "worker.cap")
	c.weir("client", "add", "ci", "--connect", admin, "--file", "ci.cap")
	return c
}

// tellLogs shows the end of every process's log when the test has failed.
func (c *cluster) tellLogs() {
	if !c.t.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(c.Dir, "*", "log"))
	for _, file := range logs {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		c.t.Logf("the end of %s:\n%s", file, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}

func (c *cluster) worker(name string, flags ...string) {
	c.t.Helper()
	flags = append([]string{"--pool", "linux", "--slots", "2", "--job-user", "nobody"}, flags...)
	if _, err := c.StartWorker(name, filepath.Join(c.dir, "worker.cap"), flags...); err != nil {
		c.t.Fatal(err)
	}
}

// weir runs a command that must succeed, and gives its output.
func (c *cluster) weir(args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Binary, args...)
	cmd.Dir = c.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("weir %q: %v (%v)\n%s%s", args, err, context.Cause(ctx), stderr.String(), out)
	}
	return string(out)
}

// serveHistory serves a copy of this project's history, and gives its address.
func serveHistory(t *testing.T, source, dir string) (url string) {
	t.Helper()
	output(t, "git", "clone", "--quiet", "--bare", "--no-local", "--", source, filepath.Join(dir, "weir.git"))
	program, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&cgi.Handler{Path: program, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}})
	t.Cleanup(s.Close)
	return s.URL + "/weir.git"
}

// line is the first line of a text that begins with a prefix.
func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			return l
		}
	}
	return ""
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return strings.TrimSpace(string(out))
}

// serveGolang runs a registry that has library/golang:1.26, made of Debian and of the
// Go that runs here, and gives its address.
func serveGolang(t *testing.T) (host string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "weir", "base-bookworm-"+runtime.Version())
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH,
		Config: v1.Config{Env: []string{"PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"debian.tar.gz", "go.tar.gz"} {
		path := filepath.Join(dir, file)
		if _, err := os.Stat(path); err != nil {
			enginetest.Missing(t, "this test needs a base image, which `make base-image` makes in a minute or two")
		}
		var layer v1.Layer
		if layer, err = tarball.LayerFromFile(path); err == nil {
			img, err = mutate.AppendLayers(img, layer)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blobs := registry.WithBlobHandler(registry.NewDiskBlobHandler(t.TempDir()))
	s := httptest.NewServer(registry.New(blobs, registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	host = strings.TrimPrefix(s.URL, "http://")
	ref, err := name.ParseReference(host+"/library/golang:1.26", name.Insecure)
	if err == nil {
		err = remote.Write(ref, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// serveModules serves the modules that this machine has downloaded, which are all that
// a build of this project needs: a module proxy that needs no internet.
func serveModules(t *testing.T) (url string) {
	t.Helper()
	dir := filepath.Join(output(t, "go", "env", "GOMODCACHE"), "cache", "download")
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL
}
