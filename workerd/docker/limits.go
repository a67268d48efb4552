package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/workerd/cgroup"
)

// stepsGroup is the cgroup of all steps of Dockerfiles on this machine. It has one
// name on all machines: it is part of what the engines know a step's result by.
const stepsGroup = "weir-dockerfiles"

// limited is an engine whose steps, all together, get no more than some limits.
type limited struct {
	Engine
	groups cgroup.Groups
	limits cgroup.Limits
}

// limit bounds an engine that runs its steps on this machine.
func limit(e Engine, l cgroup.Limits) (Engine, error) {
	if l == (cgroup.Limits{}) {
		return e, nil
	}
	groups := cgroup.Here()
	if err := groups.Limit(stepsGroup, l); err != nil {
		return nil, err
	}
	return limited{e, groups, l}, nil
}

// limitable refuses limits for a BuildKit that may be on another machine.
func limitable(addr string, l cgroup.Limits) error {
	if l == (cgroup.Limits{}) || strings.HasPrefix(addr, "unix://") {
		return nil
	}
	return fmt.Errorf("limit the steps of Dockerfiles: buildkitd at %s may be on another machine, where its own configuration limits them: leave out --dockerfile-cpus, --dockerfile-memory and --dockerfile-pids", addr)
}

// Build implements Engine. A step that the kernel killed at the limit is told so.
func (e limited) Build(ctx context.Context, r Request, out io.Writer) error {
	r.CgroupParent = stepsGroup
	before, err := e.groups.Shortages(stepsGroup)
	if err != nil {
		return err
	}
	err = e.Engine.Build(ctx, r, out)
	var failure *Failure
	if e.limits.Memory == 0 || !errors.As(err, &failure) || failure.ExitCode != 128+9 {
		return err
	}
	after, lost := e.groups.Shortages(stepsGroup)
	if lost != nil {
		return lost
	}
	if after > before {
		failure.Text += fmt.Sprintf(" (killed: the steps of Dockerfiles on this worker have come up against their limit of %v of memory)", bytesize.Size(e.limits.Memory))
	}
	return err
}

// Push implements Engine. It finds the results of Build only under the same conditions.
func (e limited) Push(ctx context.Context, r Request, out io.Writer) (string, error) {
	r.CgroupParent = stepsGroup
	return e.Engine.Push(ctx, r, out)
}

// noLimits refuses limits for Docker's daemon, of which not every version heeds them.
func noLimits(l cgroup.Limits) error {
	if l == (cgroup.Limits{}) {
		return nil
	}
	return errors.New("limit the steps of Dockerfiles: Docker's daemon cannot be held to limits: use --docker buildkit, or leave out --dockerfile-cpus, --dockerfile-memory and --dockerfile-pids")
}
