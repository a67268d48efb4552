package docker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/cgroup"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
)

// small are limits that a bomb and a hog meet at once.
var small = cgroup.Limits{CPUs: 2, Memory: 96 << 20, PIDs: 60}

const (
	forkBomb  = "FROM busybox\nRUN i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; echo all\n"
	memoryHog = "FROM busybox\nRUN x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done\n"
)

// limits: a fork bomb and a memory hog end at their limits, and it is said so; a step
// that stays within is built, pushed and cached as ever.
func limits(b *bench) {
	b.fails(nil, contents(forkBomb), "exit code: ")
	o := b.fails(nil, contents(memoryHog), "come up against their limit of 96MiB of memory")
	if o.ExitCode != 137 {
		b.Errorf("%v", o)
	}
	job := contents("FROM busybox\nRUN echo modest; grep -h -o weir-dockerfiles /proc/self/cgroup | head -n 1\n")
	job.Push = b.registry.host + "/app/modest:1"
	b.builds(nil, job, "modest\n", "Pushed ")
}

func TestBuildKitWithLimits(t *testing.T) {
	b := newBench(t, func(b *bench) docker.Engine {
		d := dockertest.StartBuildKit(t, b.registry.host)
		t.Setenv("PATH", d.Bin+":"+os.Getenv("PATH"))
		return limitedEngine(b, docker.EngineConfig{Kind: docker.UseBuildKit, BuildkitAddr: d.Addr})
	})
	limits(b)
	b.builds(nil, contents("FROM busybox\nRUN echo modest; grep -h -o weir-dockerfiles /proc/self/cgroup | head -n 1\n"), "---> cached, its log again:\nmodest\n")

	_, _, err := docker.Open(t.Context(), docker.EngineConfig{Kind: docker.UseBuildKit, BuildkitAddr: "tcp://127.0.0.1:1", Dir: b.dir, Runner: b.runner, Limits: small})
	if err == nil || !strings.Contains(err.Error(), "may be on another machine") {
		t.Errorf("an engine on another machine: %v", err)
	}
}

func limitedEngine(b *bench, c docker.EngineConfig) docker.Engine {
	b.Helper()
	c.Dir, c.Runner, c.Limits = filepath.Join(b.dir, "steps"), b.runner, small
	e, _, err := docker.Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	return e
}
