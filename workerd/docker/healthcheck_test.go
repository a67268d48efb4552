package docker_test

import (
	"strings"
	"testing"
)

// healthy: a trivial build succeeds, and needs no registry.
func healthy(b *bench) {
	for range 2 {
		if err := b.executor.Healthcheck(b.Context()); err != nil {
			b.Errorf("a health check: %v", err)
		}
	}
}

// A health check fails while the daemon is away, and succeeds once it is back.
func TestHealthOfBuildKit(t *testing.T) {
	b, daemon := buildkitBench(t)
	healthy(b)
	daemon.Stop()
	if err := b.executor.Healthcheck(b.Context()); err == nil || !strings.Contains(err.Error(), "connect") {
		b.Errorf("without its daemon: %v", err)
	}
	daemon.Start()
	healthy(b)
}
