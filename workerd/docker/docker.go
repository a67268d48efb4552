// Package docker builds the Dockerfiles of jobs, with BuildKit's daemon or with the
// docker program, and pushes the images.
//
// It promises that a job reads no file of the machine but its checkout, pushes to no
// repository that the worker does not allow, and leaves no process, file or
// credential behind; that the log tells steps as they run; and that a registry which
// stumbles is asked again before a job fails. It refuses to run any engine itself: the
// operator does, and says with the engine's own configuration what builds may reach.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/checkout"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/mask"
	"github.com/weirbuild/weir/workerd/secretdir"
	"github.com/weirbuild/weir/workerd/supervise"
)

// Config is what the executor needs.
type Config struct {
	WorkDir   string // for checkouts; this executor's alone, emptied at start
	Engine    Engine
	Source    *gitsource.Source
	JobUser   *supervise.User // who checks out; nil: the worker's own user
	AllowPush []string        // repositories, with all below them, that jobs may push to
	Grace     time.Duration   // for the engine's program, between SIGTERM and SIGKILL
	Secrets   *secretdir.Area // where the secrets of jobs are put; nil: jobs with secrets fail
	Backoff   time.Duration   // before the second try; doubled for each later one; 0: DefaultBackoff
	Log       hclog.Logger
}

// DefaultBackoff is the wait before a registry is asked again.
const DefaultBackoff = 2 * time.Second

// Executor runs Docker jobs.
type Executor struct {
	cfg     Config
	area    *checkout.Area
	allowed []string
}

var _ executor.Checked = (*Executor)(nil)

// New makes the work directory and removes what an earlier worker left in it.
func New(c Config) (*Executor, error) {
	if c.Backoff == 0 {
		c.Backoff = DefaultBackoff
	}
	allowed, err := repositories(c.AllowPush)
	if err != nil {
		return nil, err
	}
	area, err := checkout.Open(checkout.Config{WorkDir: c.WorkDir, Source: c.Source, JobUser: c.JobUser, Log: c.Log})
	if err != nil {
		return nil, err
	}
	return &Executor{cfg: c, area: area, allowed: allowed}, nil
}

// Run runs one attempt. See executor.Executor.
func (e *Executor) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	job := t.Spec.GetDocker()
	if job == nil {
		return nil, errors.New("run a Docker job: this job is of another kind")
	}
	if err := e.mayPush(job.GetPush(), job.GetCacheTo()); err != nil {
		return executor.Failed("%s", err), nil
	}
	a, err := e.area.Begin(t.Lease)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	output, err := e.build(ctx, a, t, out)
	var fault *gitsource.Failure
	var failure *Failure
	switch {
	case err != nil && ctx.Err() != nil:
		return executor.Ended(ctx)
	case errors.As(err, &fault):
		return executor.Failed("%s", fault.Reason), nil
	case errors.As(err, &failure):
		failed := executor.Failed("%s", err)
		failed.ExitCode = int32(failure.ExitCode)
		return failed, nil
	case err != nil:
		return nil, fmt.Errorf("job %s: %w", t.Job, err)
	}
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED, Output: output}, nil
}

// build builds the job's image, pushes it where that is asked for, and returns the
// pushed image's name and digest.
func (e *Executor) build(ctx context.Context, a *checkout.Attempt, t executor.Task, out io.Writer) (string, error) {
	job := t.Spec.GetDocker()
	if err := fill(ctx, a, t.Spec, out); err != nil {
		return "", err
	}
	r := Request{Context: a.Dir(), Job: job, Sources: sources(t.Spec), Kill: t.Kill,
		Grace: func(cause error) time.Duration { return executor.Grace(cause, e.cfg.Grace) }}
	var err error
	if r.Scratch, err = a.Scratch("engine"); err != nil {
		return "", err
	}
	if r.Dockerfile, err = dockerfile(a, job); err != nil {
		return "", err
	}
	remove, hide, err := e.secretFiles(t, &r)
	defer remove()
	if err != nil {
		return "", err
	}
	log := mask.New(out, hide...)
	output, err := e.make(ctx, r, log)
	if err := log.Flush(); err != nil {
		return "", err
	}
	return output, masked(err, hide)
}

// make builds a request, and pushes the image where that is asked for.
func (e *Executor) make(ctx context.Context, r Request, out io.Writer) (string, error) {
	if err := e.persist(ctx, out, func() error { return e.cfg.Engine.Build(ctx, r, out) }); err != nil || r.Job.Push == "" {
		return "", err
	}
	return e.push(ctx, r, out)
}

func (e *Executor) push(ctx context.Context, r Request, out io.Writer) (string, error) {
	if _, err := fmt.Fprintf(out, "Pushing %s\n", r.Job.Push); err != nil {
		return "", err
	}
	digest := ""
	err := e.persist(ctx, out, func() (err error) {
		digest, err = e.cfg.Engine.Push(ctx, r, out)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("push %s: %w", r.Job.Push, err)
	}
	pushed := repository(r.Job.Push) + "@" + digest
	_, err = fmt.Fprintf(out, "Pushed %s\n", pushed)
	return pushed, err
}

// fill makes the context: the checkout, with .git only where the job wants that.
func fill(ctx context.Context, a *checkout.Attempt, spec *pb.JobSpec, out io.Writer) error {
	if spec.GetGit() == nil {
		return a.Empty()
	}
	err := a.Fill(ctx, spec.GetGit(), spec.GetDocker().GetIncludeGit(), out)
	if err == nil && !spec.GetDocker().GetIncludeGit() {
		err = a.DropGit()
	}
	return err
}

// dockerfile is the path of the job's Dockerfile.
func dockerfile(a *checkout.Attempt, job *pb.DockerJob) (string, error) {
	if name := job.GetPath(); name != "" {
		return filepath.Join(a.Dir(), name), inContext(a.Dir(), name)
	}
	dir, err := a.Scratch("dockerfile")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, []byte(job.GetContents()), 0o600); err != nil {
		return "", fmt.Errorf("write Dockerfile: %w", err)
	}
	return file, nil
}

// sources tells what else than the steps before it a step with files of the
// context may depend on.
func sources(spec *pb.JobSpec) string {
	parts := []string{spec.GetGit().GetUrl()}
	parts = append(parts, spec.GetGit().GetCommits()...)
	for _, a := range spec.GetDocker().GetBuildArgs() {
		parts = append(parts, a.GetName()+"="+a.GetValue())
	}
	return strings.Join(parts, "\n")
}
