// Package job runs OBuilder jobs of the cluster: it makes the checkout that the
// spec copies from, and builds the spec with the worker's engine.
//
// It promises that the checkout is the attempt's own and is gone afterwards, that
// it has no .git (which differs between two checkouts of one commit, and would make
// every copy a new one), and that its failures are told from the worker's. It
// refuses images that are files of the machine.
package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/checkout"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
	"github.com/weirbuild/weir/workerd/supervise"
)

// Builder builds specs, as an *obuilder.Engine does.
type Builder interface {
	Build(ctx context.Context, r obuilder.Request, out io.Writer) (string, error)
	Healthcheck(ctx context.Context) error
}

// Config is what the executor needs.
type Config struct {
	WorkDir string // for checkouts; this worker's alone, emptied at start
	Builder Builder
	Source  *gitsource.Source // nil: jobs with a repository fail
	JobUser *supervise.User   // who checks out; nil: the worker's own user
	PassEnv []string          // names of the worker's variables that builds see
	Log     hclog.Logger
}

// Executor runs OBuilder jobs.
type Executor struct {
	area    *checkout.Area
	builder Builder
	passed  []string
}

var _ executor.Checked = (*Executor)(nil)

// New makes the work directory and removes what an earlier worker left in it.
func New(c Config) (*Executor, error) {
	area, err := checkout.Open(checkout.Config{WorkDir: c.WorkDir, Source: c.Source, JobUser: c.JobUser, Log: c.Log})
	if err != nil {
		return nil, err
	}
	e := &Executor{area: area, builder: c.Builder}
	for _, name := range c.PassEnv {
		if value, ok := os.LookupEnv(name); ok {
			e.passed = append(e.passed, name+"="+value)
		}
	}
	return e, nil
}

// Healthcheck implements executor.Checked.
func (e *Executor) Healthcheck(ctx context.Context) error { return e.builder.Healthcheck(ctx) }

// Run runs one attempt. See executor.Executor.
func (e *Executor) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	job := t.Spec.GetObuilder()
	if job == nil {
		return nil, errors.New("run an OBuilder job: this job is of another kind")
	}
	s, err := spec.Parse(job.GetSpec())
	if err != nil {
		return executor.Failed("the spec is wrong: %s", err), nil
	}
	own, err := logins.Of(t.Secrets)
	if err != nil {
		return executor.Failed("%s", err), nil
	}
	a, err := e.area.Begin(t.Lease)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	outcome, err := e.build(ctx, a, t, obuilder.Request{Spec: s, Passed: e.passed, Secrets: t.Secrets, Logins: own}, out)
	if err != nil && ctx.Err() != nil {
		return executor.Ended(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", t.Job, err)
	}
	return outcome, nil
}

func (e *Executor) build(ctx context.Context, a *checkout.Attempt, t executor.Task, r obuilder.Request, out io.Writer) (*pb.Outcome, error) {
	if git := t.Spec.GetGit(); git != nil {
		err := a.Fill(ctx, git, false, out)
		var fault *gitsource.Failure
		if errors.As(err, &fault) {
			return executor.Failed("%s", fault.Reason), nil
		}
		if err == nil {
			err = a.DropGit()
		}
		if err != nil {
			return nil, err
		}
		r.Context = a.Dir()
	}
	id, err := e.builder.Build(ctx, r, out)
	var failure *obuilder.Failure
	if errors.As(err, &failure) {
		failed := executor.Failed("%s", failure)
		failed.ExitCode = int32(failure.ExitCode)
		return failed, nil
	}
	if err != nil {
		return nil, err
	}
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED, Output: id}, nil
}
