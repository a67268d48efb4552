package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirbuild/weir/workerd/cgroup"
	"github.com/weirbuild/weir/workerd/supervise"
)

// The engines that a worker may be told to use.
const (
	Auto        = "auto" // BuildKit where it answers, else Docker
	UseBuildKit = "buildkit"
	UseDocker   = "docker"
)

// EngineConfig says which engine, and where it is.
type EngineConfig struct {
	Kind         string
	BuildkitAddr string // "": DefaultBuildkitAddr
	Dir          string // for what the engine keeps: logs of steps
	Runner       *supervise.Runner
	Limits       cgroup.Limits // of all steps together; BuildKit only
}

// Validate checks the kind.
func (c EngineConfig) Validate() error {
	switch c.Kind {
	case Auto, UseBuildKit, UseDocker:
		return nil
	}
	return fmt.Errorf("unknown engine %q for Dockerfiles: use %s, %s or %s", c.Kind, Auto, UseBuildKit, UseDocker)
}

// Open finds the engine, which must answer now. It says which one that is.
func Open(ctx context.Context, c EngineConfig) (e Engine, what string, err error) {
	if err := c.Validate(); err != nil {
		return nil, "", err
	}
	if c.BuildkitAddr == "" {
		c.BuildkitAddr = DefaultBuildkitAddr
	}
	var buildkitErr error
	if c.Kind != UseDocker {
		if err := limitable(c.BuildkitAddr, c.Limits); err != nil {
			return nil, "", err
		}
		b, err := OpenBuildKit(ctx, c.BuildkitAddr, c.Dir, c.Runner)
		if err == nil {
			e, err = limit(b, c.Limits)
			return e, "BuildKit at " + c.BuildkitAddr, err
		}
		if c.Kind == UseBuildKit {
			return nil, "", err
		}
		buildkitErr = err
	}
	d, err := OpenProgram(ctx, c.Runner)
	if err == nil {
		err = noLimits(c.Limits)
	}
	if err != nil {
		return nil, "", errors.Join(buildkitErr, err)
	}
	return d, d.String(), nil
}
