package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/health"
)

// smallest is a Dockerfile that needs no registry; with a step that runs, where a
// program for this machine is known.
const (
	smallest = "FROM scratch\nLABEL weir=healthcheck\n"
	withStep = "FROM scratch\nCOPY true /true\nRUN [\"/true\"]\n"
)

// Healthcheck implements executor.Checked: it builds an image of nothing.
func (e *Executor) Healthcheck(ctx context.Context) error {
	a, err := e.area.Begin(executor.HealthcheckLease)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Empty(); err != nil {
		return err
	}
	job := &pb.DockerJob{Dockerfile: &pb.DockerJob_Contents{Contents: smallest}}
	if program, ok := health.Program(); ok {
		program = append(program, rand.Text()...) // behind its end: so that no cache has the step
		if err := os.WriteFile(filepath.Join(a.Dir(), "true"), program, 0o755); err != nil {
			return err
		}
		job.Dockerfile = &pb.DockerJob_Contents{Contents: withStep}
	}
	r := Request{Context: a.Dir(), Job: job}
	if r.Scratch, err = a.Scratch("engine"); err != nil {
		return err
	}
	if r.Dockerfile, err = dockerfile(a, job); err != nil {
		return err
	}
	if err := privateConfig(r.ConfigDir(), []byte(`{"auths":{}}`)); err != nil {
		return err
	}
	var log tail
	if err := e.cfg.Engine.Build(ctx, r, &log); err != nil {
		return err
	}
	return errors.Join(e.cfg.Engine.Forget(ctx, r), ctx.Err())
}

// Forget implements Engine: what was built without being exported is the cache's.
func (b *BuildKit) Forget(context.Context, Request) error { return nil }
