// Package sandbox runs command jobs in containers, each on a base image of the
// job's choice and with its checkout mounted.
//
// It promises that nothing of a job is left, neither processes nor what it wrote
// outside of its log, that the command sees the machine's network only where the job
// asks for that, and that a job gets no more of the machine than the worker's own
// limits. It refuses images that are files of the machine.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Mount is where a job finds its checkout.
const Mount = "/workspace"

// SecretMount is where a job finds its secrets: a file for each, named by its id.
const SecretMount = "/run/secrets"

// Engine runs one command on a base image, as an *obuilder.Engine does.
type Engine interface {
	Run(ctx context.Context, r obuilder.CommandRequest, out io.Writer) (obuilder.Exit, error)
	Healthcheck(ctx context.Context) error
}

// Config is what the executor needs.
type Config struct {
	WorkDir string // for checkouts; this executor's alone, emptied at start
	Engine  Engine
	Source  *gitsource.Source
	JobUser *supervise.User // who checks out; nil: the worker's own user
	PassEnv []string        // names of the worker's variables that jobs see
	Grace   time.Duration   // between SIGTERM and SIGKILL
	Log     hclog.Logger
}

// Executor runs sandbox jobs.
type Executor struct {
	cfg    Config
	area   *checkout.Area
	passed []string
}

var _ executor.Checked = (*Executor)(nil)

// New makes the work directory and removes what an earlier worker left in it.
func New(c Config) (*Executor, error) {
	area, err := checkout.Open(checkout.Config{WorkDir: c.WorkDir, Source: c.Source, JobUser: c.JobUser, Log: c.Log})
	if err != nil {
		return nil, err
	}
	e := &Executor{cfg: c, area: area, passed: []string{"HOME=/root", "LANG=C.UTF-8", "CI=true"}}
	for _, name := range c.PassEnv {
		if value, ok := os.LookupEnv(name); ok {
			e.passed = append(e.passed, name+"="+value)
		}
	}
	return e, nil
}

// Healthcheck implements executor.Checked.
func (e *Executor) Healthcheck(ctx context.Context) error { return e.cfg.Engine.Healthcheck(ctx) }

// Run runs one attempt. See executor.Executor.
func (e *Executor) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	if t.Spec.GetSandbox() == nil {
		return nil, errors.New("run a sandbox job: this job is of another kind")
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
	outcome, err := e.run(ctx, a, t, own, out)
	var fault *gitsource.Failure
	var failure *obuilder.Failure
	switch {
	case err != nil && ctx.Err() != nil:
		return executor.Ended(ctx)
	case errors.As(err, &fault):
		return executor.Failed("%s", fault.Reason), nil
	case errors.As(err, &failure):
		return executor.Failed("%s", failure), nil
	case err != nil:
		return nil, fmt.Errorf("job %s: %w", t.Job, err)
	}
	return outcome, nil
}

func (e *Executor) run(ctx context.Context, a *checkout.Attempt, t executor.Task, own *logins.Set, out io.Writer) (*pb.Outcome, error) {
	if err := fill(ctx, a, t.Spec.GetGit(), out); err != nil {
		return nil, err
	}
	job := t.Spec.GetSandbox()
	dir, err := workdir(a.Dir(), job.GetCommand().GetDir())
	if err != nil {
		return nil, err
	}
	exit, err := e.cfg.Engine.Run(ctx, obuilder.CommandRequest{
		Image:  job.GetImage(),
		Logins: own,
		Passed: e.passed,
		Command: obuilder.Command{
			Argv:    job.GetCommand().GetArgv(),
			Env:     environment(t),
			Dir:     dir,
			Network: network(job.GetNetwork()),
			Binds:   []obuilder.Bind{{Source: a.Dir(), Target: Mount}},
			Secrets: secrets(t),
			Limits:  obuilder.Limits{CPUs: float64(job.GetCpuMillis()) / 1000, Memory: job.GetMemoryBytes()},
			Grace:   func(cause error) time.Duration { return executor.Grace(cause, e.cfg.Grace) },
			Kill:    t.Kill,
		},
	}, out)
	if err != nil {
		return nil, err
	}
	return outcomeOf(exit), nil
}

// fill makes the checkout, as the container's root owns it.
func fill(ctx context.Context, a *checkout.Attempt, git *pb.GitContext, out io.Writer) error {
	if git == nil {
		return a.Empty()
	}
	if err := a.Fill(ctx, git, true, out); err != nil {
		return err
	}
	return a.Own()
}

// workdir is the directory that the command starts in. It must be one of the
// checkout's: one that is missing would be made.
func workdir(checkout, dir string) (string, error) {
	root, err := os.OpenRoot(checkout)
	if err != nil {
		return "", fmt.Errorf("open checkout: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(path.Clean(dir))
	switch {
	case err != nil:
		return "", obuilder.Failed("the working directory %q is not in the checkout", dir)
	case !info.IsDir():
		return "", obuilder.Failed("the working directory %q is not a directory", dir)
	}
	return path.Join(Mount, dir), nil
}

// network is the engine's name for it. Anything unknown is none.
func network(name string) string {
	if name == spec.HostNetwork {
		return spec.HostNetwork
	}
	return ""
}

// environment is what the job sets, and what only the worker knows.
func environment(t executor.Task) []string {
	var env []string
	for _, v := range t.Spec.GetSandbox().GetCommand().GetEnv() {
		env = append(env, v.GetName()+"="+v.GetValue())
	}
	env = append(env, "WEIR_JOB_ID="+t.Job, "WEIR_ATTEMPT="+strconv.Itoa(t.Attempt), "WEIR_POOL="+t.Pool, "WEIR_CHECKOUT="+Mount)
	if len(secrets(t)) > 0 {
		env = append(env, "WEIR_SECRETS="+SecretMount)
	}
	if git := t.Spec.GetGit(); git != nil {
		env = append(env, "WEIR_REPO="+git.GetUrl(), "WEIR_COMMIT="+git.GetCommits()[0], "WEIR_COMMITS="+strings.Join(git.GetCommits(), " "))
	}
	return env
}

// secrets are files that are mounted from memory. Logins are for the image alone.
func secrets(t executor.Task) (list []obuilder.Secret) {
	for id, value := range t.Secrets {
		if id == logins.Secret {
			continue
		}
		list = append(list, obuilder.Secret{Target: path.Join(SecretMount, id), Value: value})
	}
	slices.SortFunc(list, func(a, b obuilder.Secret) int { return strings.Compare(a.Target, b.Target) })
	return list
}

func outcomeOf(exit obuilder.Exit) *pb.Outcome {
	switch {
	case exit.OutOfMemory:
		failed := executor.Failed("the program needed more memory than its limit and was killed: give it more with --memory, if the worker allows that")
		failed.ExitCode = int32(exit.Code)
		return failed
	case exit.Code != 0:
		failed := executor.Failed("the program exited with code %d", exit.Code)
		failed.ExitCode = int32(exit.Code)
		return failed
	}
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}
}
