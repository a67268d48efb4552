package docker_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/obuilder/fetchtest"
)

// buildkitBench is a bench on a real buildkitd.
func buildkitBench(t *testing.T) (*bench, *dockertest.BuildKit) {
	t.Helper()
	var d *dockertest.BuildKit
	b := newBench(t, func(b *bench) docker.Engine {
		d = dockertest.StartBuildKit(t, b.registry.host)
		t.Setenv("PATH", d.Bin+":"+os.Getenv("PATH"))
		e, err := docker.OpenBuildKit(t.Context(), d.Addr, filepath.Join(b.dir, "steps"), b.runner)
		if err != nil {
			t.Fatal(err)
		}
		return e
	})
	return b, d
}

func TestBuildKit(t *testing.T) {
	b, daemon := buildkitBench(t)
	for name, test := range map[string]func(*bench){
		"context": fromContext, "choices": choices, "push": push, "caches": caches, "failures": failures, "retries": retries, "pulls": pulls,
		"cancel": cancel, "secrets": secrets, "background": background, "big line": bigLine,
	} {
		t.Run(name, func(t *testing.T) { test(b.in(t)) })
	}
	t.Run("history", func(t *testing.T) { noHistory(b.in(t), daemon) })
	t.Run("daemon gone", func(t *testing.T) { daemonGone(b.in(t), daemon) })
}

// A build reads its Dockerfile and files from the checkout, without .git; what is
// cached comes with its log, and it is said where that may be another's.
func fromContext(b *bench) {
	p := b.project()
	one := p.commit(map[string]string{"app/Dockerfile": "FROM busybox\nARG V=none\nRUN echo first $V\nCOPY . /src/\nRUN ls -A /src; cat /src/file\n", "file": "one\n"})
	job := inPath("app/Dockerfile")
	job.BuildArgs = []*pb.EnvVar{{Name: "V", Value: "v 1"}}
	b.builds(one, job, "] RUN echo first v 1\nfirst v 1\n[", "] RUN ls -A /src; cat /src/file\napp\nfile\none\n")
	b.builds(one, job, "] RUN echo first v 1\n---> cached, its log again:\nfirst v 1\n", "---> cached, its log again:\napp\nfile\none\n")

	two := p.commit(map[string]string{"file": "two\n"})
	b.builds(two, job, "---> cached, its log again:\nfirst v 1\n", "\napp\nfile\ntwo\n")
	b.builds(one, job, "---> cached; the log of its last run here, on other sources or arguments:\napp\nfile\ntwo\n")

	job.IncludeGit = true
	b.builds(two, job, "\n.git\napp\nfile\ntwo\n")
	b.builds(nil, contents("FROM busybox\nCOPY . /src/\nRUN ls -A /src | wc -l\n"), "\n0\n")
}

func choices(b *bench) {
	text := "FROM busybox AS one\nRUN echo made one\nFROM busybox AS two\nARG TARGETARCH\nRUN echo made two for $TARGETARCH\n"
	job := contents(text)
	job.Target = "one"
	b.builds(nil, job, "\nmade one\n")
	job.Target, job.Platform = "two", "linux/amd64"
	b.builds(nil, job, "\nmade two for amd64\n")
	job.Target = "three"
	b.fails(nil, job, "three")
	job.Target, job.Squash = "", true
	b.fails(nil, job, "cannot squash")
}

func push(b *bench) {
	job := contents("FROM busybox\nRUN echo pushed > /what\n")
	job.Push = b.registry.host + "/app/web:v1"
	o := b.builds(nil, job, "\nPushing "+job.Push+"\n", "\nPushed ")
	if want := b.registry.host + "/app/web@" + b.registry.digest(b, "app/web:v1"); o.Output != want {
		b.Errorf("output %q, want %q", o.Output, want)
	}
	for _, not := range []string{b.registry.host + "/other:v1", b.registry.host + "/application:v1", "app:v1", "someone/../x:1"} {
		job.Push = not
		b.fails(nil, job, "push")
	}
	job.Push, job.CacheTo = "", b.registry.host+"/elsewhere:cache"
	b.fails(nil, job, "this worker allows no push to "+b.registry.host+"/elsewhere: it allows ")
}

// A cache goes through the registry to a build that has none of its own.
func caches(b *bench) {
	job := contents("FROM busybox\nRUN echo cached > /what; echo ran\n")
	job.CacheTo = b.registry.host + "/app:cache"
	b.builds(nil, job, "\nran\n")
	_ = b.registry.digest(b, "app:cache")
	job.CacheTo, job.CacheFrom = "", []string{b.registry.host + "/app:cache"}
	b.builds(nil, job, "---> cached")
	job.CacheFrom = []string{b.registry.host + "/app:nosuch"} // is told, and does not matter
	b.builds(nil, job, "---> cached")
}

func failures(b *bench) {
	p := b.project()
	git := p.commit(map[string]string{
		"real": "FROM busybox\n", "link": "->real", "dir/x": "", "dirlink": "->dir", "evil": "->/etc/hostname", "up": "->../../../../etc/hostname",
	})
	if o := b.fails(nil, contents("FROM busybox\nRUN echo no >&2; exit 9\n"), "exit code: 9"); o.ExitCode != 9 {
		b.Errorf("%v", o)
	}
	b.fails(nil, contents("FROM busybox\nRNU x\n"), "unknown instruction: RNU")
	b.fails(nil, contents("FROM "+b.registry.host+"/nosuch\n"), "not found")
	b.fails(nil, contents("FROM busybox\nCOPY nosuch /x\n"), `"/nosuch": not found`)
	for path, says := range map[string]string{
		"link": "symbolic link", "dirlink/x": "symbolic link", "evil": "symbolic link", "nosuch": "not in the repository", "real/x": "not in the repository",
		"dir": "not a regular file", "../real": "leads out", "/etc/hostname": "leads out",
	} {
		b.fails(git, inPath(path), says)
	}
	for _, link := range []string{"evil", "up"} { // a copy never leaves the context
		b.fails(git, contents("FROM busybox\nCOPY "+link+" /x\n"), "not found")
	}
}

// A registry that stumbles is asked again, also after BuildKit has given up, and
// the build goes on. One that is not there is asked five times.
func retries(b *bench) {
	puts := func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
	}
	job := contents("FROM busybox\nRUN echo retried > /what\n")
	job.Push = b.registry.host + "/app:retried"
	b.registry.stumble(8, puts)
	b.builds(nil, job, "500 Internal Server Error: stumbled: trying again", "(2 of 5)\nPushed ")

	job.Push = nowhere + "/app:1"
	var out bytes.Buffer
	o, err := b.executor.Run(b.Context(), b.task(nil, job), &out)
	if err == nil || !strings.Contains(err.Error(), "push "+job.Push) || !strings.Contains(out.String(), "(5 of 5)") {
		b.Errorf("%v, %v\n%s", o, err, out.String())
	}
}

// pulls: a base image comes also from a registry that stumbles for a while, and a
// cancelled build does not wait for one that gives no answer.
func pulls(b *bench) {
	manifests := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/pulled/manifests/") }
	blobs := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/pulled/blobs/") }
	if err := remote.Write(b.registry.ref(b, "pulled:v1"), fetchtest.Image(b, nil, []fetchtest.Entry{fetchtest.File("pulled", "x", 0o644)})); err != nil {
		b.Fatal(err)
	}
	dockerfile := "FROM " + b.registry.host + "/pulled:v1 AS pulled\nFROM busybox\nCOPY --from=pulled /pulled /\nRUN cat /pulled\n"
	ctx, cancel := context.WithCancelCause(b.Context())
	asked := make(chan struct{})
	once := sync.Once{}
	b.registry.stall(func(r *http.Request) bool {
		if blobs(r) {
			once.Do(func() { close(asked) })
			return true
		}
		return false
	})
	go func() {
		<-asked
		cancel(executor.ErrCancelled)
	}()
	if o, err := b.executor.Run(ctx, b.task(nil, contents(dockerfile)), io.Discard); err != nil || o.Kind != pb.OutcomeKind_OUTCOME_CANCELLED {
		b.Errorf("%v, %v", o, err)
	}
	b.registry.stall(nil)
	b.registry.stumble(8, manifests)
	b.builds(nil, contents(dockerfile), ": trying again in ", "] RUN cat /pulled\nx")
}

// A cancelled build ends within its grace, and nothing of it runs on.
func cancel(b *bench) {
	marker := fmt.Sprintf("sleep 1%09d", os.Getpid())
	b.cancelled(contents("FROM busybox\nRUN trap '' TERM INT; echo begun; "+marker+"\n"), "\nbegun\n")
	b.until("the step's process to end", func() bool { return !runs(marker) })
}

// background: what a step leaves behind ends with it.
func background(b *bench) {
	marker := fmt.Sprintf("sleep 3%09d", os.Getpid())
	b.builds(nil, contents("FROM busybox\nRUN (setsid "+marker+" &); echo left\n"), "left\n")
	b.until("the step's process to end", func() bool { return !runs(marker) })
}

// bigLine: output has no lines that are too long, and none of it is lost.
func bigLine(b *bench) {
	const size = 32 << 20
	o, said := b.run(nil, contents(fmt.Sprintf("FROM busybox\nRUN head -c %d /dev/zero | tr '\\0' x\n", size)))
	if o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || strings.Count(said, "x") < size {
		b.Errorf("%v, %d bytes", o, len(said))
	}
}

// Without its daemon a worker is to blame, not the build.
func daemonGone(b *bench, d *dockertest.BuildKit) {
	d.Stop()
	o, err := b.executor.Run(b.Context(), b.task(nil, contents("FROM busybox\n")), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "connect") {
		b.Errorf("%v, %v", o, err)
	}
	if _, err := docker.OpenBuildKit(b.Context(), d.Addr, filepath.Join(b.dir, "steps"), b.runner); err == nil || !strings.Contains(err.Error(), "--buildkit-addr") {
		b.Errorf("opened without a daemon: %v", err)
	}
}
