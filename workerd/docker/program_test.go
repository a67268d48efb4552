package docker_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
)

// The same jobs on Docker's daemon, with its two builders.
func TestDocker(t *testing.T) {
	b := newBench(t, func(b *bench) docker.Engine {
		d := dockertest.StartDocker(t, b.registry)
		b.registry.host = d.Registry
		t.Setenv("PATH", d.Bin+":"+os.Getenv("PATH"))
		t.Setenv("DOCKER_HOST", d.Host)
		e, what, err := docker.Open(t.Context(), docker.EngineConfig{Kind: docker.Auto, BuildkitAddr: "unix:///nosuch", Dir: b.dir + "/steps", Runner: b.runner})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(what, "Docker 20.") || !strings.HasSuffix(what, " with BuildKit") {
			t.Errorf("it is %s", what)
		}
		_, _, err = docker.Open(t.Context(), docker.EngineConfig{Kind: docker.UseDocker, Dir: b.dir + "/steps", Runner: b.runner, Limits: small})
		if err == nil || !strings.Contains(err.Error(), "use --docker buildkit") {
			t.Errorf("with limits: %v", err)
		}
		return e
	})
	for name, test := range map[string]func(*bench){
		"context": dockerContext, "classic": classic, "push": push, "failures": dockerFailures, "cancel": dockerCancel, "secrets": secrets, "background": background, "retries": dockerRetries, "health": dockerHealth,
	} {
		t.Run(name, func(t *testing.T) { test(b.in(t)) })
	}
}

// dockerHealth: the daemon keeps no image of a health check.
func dockerHealth(b *bench) {
	images := func() []string {
		out, err := exec.Command("docker", "images", "--all", "--quiet").Output()
		if err != nil {
			b.Fatal(err)
		}
		return slices.Sorted(strings.FieldsSeq(string(out))) // docker sorts by a second of making
	}
	before := images()
	healthy(b)
	if after := images(); !slices.Equal(after, before) {
		b.Errorf("images before a health check: %v, after it: %v", before, after)
	}
}

func dockerContext(b *bench) {
	p := b.project()
	git := p.commit(map[string]string{"app/Dockerfile": "FROM busybox\nARG V=none\nRUN echo first $V\nCOPY . /src/\nRUN ls -A /src; cat /src/file\n", "file": "one\n"})
	job := inPath("app/Dockerfile")
	job.BuildArgs = []*pb.EnvVar{{Name: "V", Value: "v 1"}}
	b.builds(git, job, "first v 1\n", " one\n")
	job.IncludeGit = true
	b.builds(git, job, " .git\n")
	job = contents("FROM busybox AS one\nRUN echo made one\nFROM busybox\nRUN echo made two\n")
	job.Target = "one"
	b.builds(nil, job, " made one\n")
	job.CacheTo = b.registry.host + "/app:cache"
	b.fails(nil, job, "cannot export a cache")
}

// classic is the builder that can squash.
func classic(b *bench) {
	job := contents("FROM busybox\nRUN echo a > /a\nRUN echo b > /b\n")
	job.Squash, job.Push = true, b.registry.host+"/app:squashed"
	b.builds(nil, job, "Step 3/3 : RUN echo b")
	if n := b.registry.layers(b, "app:squashed"); n != 2 {
		b.Errorf("%d layers, want the base's and one", n)
	}
	job = contents("FROM busybox\nRUN exit 9\n")
	job.Squash = true
	if o := b.fails(nil, job, "non-zero code: 9"); o.ExitCode != 9 {
		b.Errorf("%v", o)
	}
}

func dockerFailures(b *bench) {
	git := b.project().commit(map[string]string{"real": "FROM busybox\n", "link": "->real", "evil": "->/etc/hostname"})
	if o := b.fails(nil, contents("FROM busybox\nRUN echo no >&2; exit 9\n"), "exit code: 9"); o.ExitCode != 9 {
		b.Errorf("%v", o)
	}
	b.fails(nil, contents("FROM busybox\nRNU x\n"), "nknown instruction: RNU")
	b.fails(nil, contents("FROM "+b.registry.host+"/nosuch\n"), "not found")
	b.fails(git, inPath("link"), "symbolic link")
	b.fails(git, contents("FROM busybox\nCOPY evil /x\n"), "not found")
}

func dockerCancel(b *bench) {
	marker := fmt.Sprintf("sleep 2%09d", os.Getpid())
	b.cancelled(contents("FROM busybox\nRUN trap '' TERM INT; echo begun; "+marker+"\n"), " begun\n")
	b.until("the step's process to end", func() bool { return !runs(marker) })
}

func dockerRetries(b *bench) {
	job := contents("FROM busybox\nRUN echo retried > /what\n")
	job.Push = b.registry.host + "/app:retried"
	b.registry.stumble(2, func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
	})
	b.builds(nil, job, "trying again", "\nPushed ")
	job.Push = nowhere + "/app:1"
	var out bytes.Buffer
	o, err := b.executor.Run(b.Context(), b.task(nil, job), &out)
	if err == nil || !strings.Contains(err.Error(), "push "+job.Push) || !strings.Contains(out.String(), "(5 of 5)") {
		b.Errorf("%v, %v\n%s", o, err, out.String())
	}
}
