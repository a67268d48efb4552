// Package command runs the program of a command job on the worker's host.
//
// It promises that the program starts in a private directory that nobody else
// uses and that is gone afterwards, with the documented environment and nothing of
// the worker's, as the job user, and that no process of it is left. It refuses to
// run anything as root, and a working directory that leaves the checkout.
//
// It is no sandbox: the program sees the host's files as its user may, and its
// network. Where the worker is not root, jobs are the worker's own user; what that
// user may read, a job may read too.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/secretdir"
	"github.com/weirbuild/weir/workerd/supervise"
)

// Config is what the executor needs.
type Config struct {
	// WorkDir holds the private directories of attempts. It is made with mode
	// 0711, is this worker's alone, and is emptied at start.
	WorkDir string
	Runner  *supervise.Runner
	Source  *gitsource.Source
	JobUser *supervise.User // who runs jobs; must be set for a worker that is root
	PassEnv []string        // names of the worker's variables that jobs get
	Grace   time.Duration   // between SIGTERM and SIGKILL; 0: supervise.DefaultGrace
	// Hide names directories that must look empty to jobs, like the state
	// directory. It is a second fence: only some modes of the runner can do it.
	Hide []string
	// Secrets is where the secrets of jobs are put; nil: jobs with secrets fail.
	Secrets *secretdir.Area
	Log     hclog.Logger
}

// Executor runs command jobs.
type Executor struct {
	work    string
	runner  *supervise.Runner
	source  *gitsource.Source
	user    *supervise.User
	passed  []string
	grace   time.Duration
	hide    []string
	secrets *secretdir.Area
	log     hclog.Logger
	account string // the name of the user that jobs run as
}

var _ executor.Checked = (*Executor)(nil)

// New makes the work directory and removes what an earlier worker left in it.
func New(c Config) (*Executor, error) {
	if os.Geteuid() == 0 && c.JobUser == nil {
		return nil, errors.New("command jobs do not run as root: name their user with --job-user")
	}
	passed, err := passedEnv(c.PassEnv)
	if err != nil {
		return nil, err
	}
	work, err := makeWorkDir(c.WorkDir, c.JobUser, c.Hide)
	if err != nil {
		return nil, err
	}
	e := &Executor{work: work, runner: c.Runner, source: c.Source, user: c.JobUser, passed: passed,
		grace: c.Grace, hide: append([]string{work}, c.Hide...), log: c.Log, account: accountName(c.JobUser)}
	if c.Secrets != nil {
		e.secrets, e.hide = c.Secrets, append(e.hide, c.Secrets.Dir())
	}
	if e.grace == 0 {
		e.grace = supervise.DefaultGrace
	}
	if e.log == nil {
		e.log = hclog.NewNullLogger()
	}
	return e, e.removeLeftovers()
}

// Run runs one attempt. See executor.Executor.
func (e *Executor) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	job := t.Spec.GetCommand()
	if job == nil {
		return nil, errors.New("run a command job: this job is of another kind")
	}
	if err := check(job); err != nil {
		return executor.Failed("%s", err), nil
	}
	return e.RunProgram(ctx, t, Program{Argv: job.GetArgv(), Env: job.GetEnv(), Dir: job.GetDir()}, out)
}

// Healthcheck implements executor.Checked.
func (e *Executor) Healthcheck(ctx context.Context) error {
	return executor.Healthcheck(ctx, &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"true"}}}}, e.Run)
}

// Program is what an attempt runs in its checkout.
type Program struct {
	Argv   []string
	Env    []*pb.EnvVar // beside what every program gets
	Dir    string       // relative to the checkout
	Stdin  *os.File     // see supervise.Command; the caller closes both
	Result *os.File
}

// RunProgram runs one attempt with a program that need not be the job's own choice.
func (e *Executor) RunProgram(ctx context.Context, t executor.Task, p Program, out io.Writer) (*pb.Outcome, error) {
	a, err := e.newAttempt(t)
	if err != nil {
		return nil, err
	}
	a.program = p
	defer func() {
		if err := removeAll(a.dir); err != nil {
			e.log.Warn("remove work directory", "job", t.Job, "dir", a.dir, "error", err)
		}
	}()
	if err := a.writeSecrets(); err != nil {
		return nil, fmt.Errorf("job %s: %w", t.Job, err)
	}
	defer a.removeSecrets()
	outcome, err := a.run(ctx, out)
	var fault *gitsource.Failure
	switch {
	case err != nil && ctx.Err() != nil:
		return executor.Ended(ctx)
	case errors.As(err, &fault):
		return executor.Failed("%s", fault.Reason), nil
	case err != nil:
		return nil, fmt.Errorf("job %s: %w", t.Job, err)
	}
	return outcome, nil
}

// attempt is one run with its private directory.
type attempt struct {
	*Executor
	task                     executor.Task
	program                  Program
	dir, checkout, home, tmp string
	secretDir                string // in memory; "": the job has no secrets
}

func (a *attempt) run(ctx context.Context, out io.Writer) (*pb.Outcome, error) {
	if err := a.fill(ctx, out); err != nil {
		return nil, err
	}
	dir, err := inside(a.checkout, a.program.Dir)
	if err != nil {
		return executor.Failed("%s", err), nil
	}
	exit, err := a.runner.Run(ctx, supervise.Command{
		Argv:   a.program.Argv,
		Env:    a.environment(),
		Dir:    dir,
		User:   a.user,
		Stdin:  a.program.Stdin,
		Result: a.program.Result,
		Grace:  func(cause error) time.Duration { return executor.Grace(cause, a.grace) },
		Kill:   a.task.Kill,
		Hide:   a.hide,
		Keep:   a.kept(),
	}, out)
	var fault *supervise.StartError
	switch {
	case errors.As(err, &fault):
		failed := executor.Failed("%s", fault)
		failed.ExitCode = int32(fault.Code())
		return failed, nil
	case err != nil:
		return nil, err
	case exit.Stopped && ctx.Err() != nil:
		return executor.Ended(ctx)
	}
	return outcomeOf(exit), nil
}

// fill makes the checkout, or an empty directory for a job without one. Until
// handOver only the worker can reach it; after that the worker writes no more.
func (a *attempt) fill(ctx context.Context, out io.Writer) error {
	git := a.task.Spec.GetGit()
	if git == nil {
		if err := os.Mkdir(a.checkout, 0o755); err != nil {
			return fmt.Errorf("make work directory: %w", err)
		}
		return a.handOver()
	}
	if a.source == nil {
		return errors.New("this worker has no git")
	}
	r := gitsource.Request{URL: git.GetUrl(), Commits: git.GetCommits()}
	if err := a.source.Prepare(ctx, r, a.checkout, out); err != nil {
		return err
	}
	if err := a.handOver(); err != nil {
		return err
	}
	place := gitsource.Place{Dir: a.checkout, Home: a.home, Hide: a.hide, Keep: a.dir}
	return a.source.Checkout(ctx, r, place, out)
}

func outcomeOf(exit supervise.Exit) *pb.Outcome {
	if exit.Ok() {
		return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}
	}
	failed := executor.Failed("the program %s", exit)
	if exit.Signal != 0 {
		failed = executor.Failed("the program was %s", exit)
	}
	failed.ExitCode, failed.Signal = int32(max(0, exit.Code)), exit.SignalName()
	return failed
}

func (e *Executor) newAttempt(t executor.Task) (*attempt, error) {
	dir := filepath.Join(e.work, fmt.Sprintf("%s%d", attemptPrefix, t.Lease))
	a := &attempt{Executor: e, task: t, dir: dir, checkout: filepath.Join(dir, "checkout"),
		home: filepath.Join(dir, "home"), tmp: filepath.Join(dir, "tmp")}
	if err := removeAll(dir); err != nil {
		return nil, fmt.Errorf("empty work directory: %w", err)
	}
	for _, d := range []string{a.dir, a.home, a.tmp} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("make work directory: %w", err)
		}
	}
	return a, nil
}
