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
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
	"github.com/weirbuild/weir/workerd/supervise"
)

// Builder builds specs, as an *obuilder.Engine does.
type Builder interface {
	Build(ctx context.Context, r obuilder.Request, out io.Writer) (string, error)
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
	cfg    Config
	passed []string
}

var _ executor.Executor = (*Executor)(nil)

// New makes the work directory and removes what an earlier worker left in it.
func New(c Config) (*Executor, error) {
	if err := os.RemoveAll(c.WorkDir); err != nil {
		return nil, fmt.Errorf("empty work directory: %w", err)
	}
	// The job user passes through it to its checkout, and sees nothing else.
	if err := os.MkdirAll(c.WorkDir, 0o711); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	if err := os.Chmod(c.WorkDir, 0o711); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	if err := reachable(c.WorkDir, c.JobUser); err != nil {
		return nil, err
	}
	e := &Executor{cfg: c}
	for _, name := range c.PassEnv {
		if value, ok := os.LookupEnv(name); ok {
			e.passed = append(e.passed, name+"="+value)
		}
	}
	return e, nil
}

// reachable checks that the job user, who checks out, may pass every directory on
// the way.
func reachable(dir string, user *supervise.User) error {
	if user == nil || user.UID == 0 {
		return nil
	}
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("check work directory: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("work directory %s: job user %q may not pass %s (%s): chmod o+x it, or choose another with --work-dir", dir, user.Name, d, info.Mode())
		}
	}
	return nil
}

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
	a := &attempt{Executor: e, dir: filepath.Join(e.cfg.WorkDir, fmt.Sprintf("attempt-%d", t.Lease))}
	defer func() {
		if err := os.RemoveAll(a.dir); err != nil {
			e.cfg.Log.Warn("remove work directory", "job", t.Job, "dir", a.dir, "error", err)
		}
	}()
	outcome, err := a.run(ctx, t.Spec.GetGit(), s, out)
	if err != nil && ctx.Err() != nil {
		return executor.Ended(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", t.Job, err)
	}
	return outcome, nil
}

// attempt is one run with its private directory.
type attempt struct {
	*Executor
	dir string
}

func (a *attempt) checkout() string { return filepath.Join(a.dir, "checkout") }

func (a *attempt) run(ctx context.Context, git *pb.GitContext, s *spec.Spec, out io.Writer) (*pb.Outcome, error) {
	r := obuilder.Request{Spec: s, Passed: a.passed}
	if git != nil {
		err := a.fill(ctx, gitsource.Request{URL: git.GetUrl(), Commits: git.GetCommits()}, out)
		var fault *gitsource.Failure
		if errors.As(err, &fault) {
			return executor.Failed("%s", fault.Reason), nil
		}
		if err != nil {
			return nil, err
		}
		r.Context = a.checkout()
	}
	id, err := a.cfg.Builder.Build(ctx, r, out)
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

// fill makes the checkout with the job user's rights, and takes it back.
func (a *attempt) fill(ctx context.Context, r gitsource.Request, out io.Writer) error {
	if a.cfg.Source == nil {
		return errors.New("this worker has no git")
	}
	home := filepath.Join(a.dir, "home")
	for _, d := range []string{a.dir, home} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fmt.Errorf("make work directory: %w", err)
		}
	}
	if err := a.cfg.Source.Prepare(ctx, r, a.checkout(), out); err != nil {
		return err
	}
	if err := a.handOver(); err != nil {
		return err
	}
	place := gitsource.Place{Dir: a.checkout(), Home: home, Hide: []string{a.cfg.WorkDir}, Keep: a.dir}
	if err := a.cfg.Source.Checkout(ctx, r, place, out); err != nil {
		return err
	}
	return a.takeBack()
}

// handOver gives everything to the job user, the way in last: until then nobody
// can change what is below.
func (a *attempt) handOver() error {
	user := a.cfg.JobUser
	if user == nil {
		return nil
	}
	err := filepath.WalkDir(a.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == a.dir {
			return err
		}
		return os.Lchown(path, int(user.UID), int(user.GID))
	})
	if err == nil {
		err = os.Lchown(a.dir, int(user.UID), int(user.GID))
	}
	if err != nil {
		return fmt.Errorf("hand work directory to job user %q: %w", user.Name, err)
	}
	return nil
}

// takeBack closes the way in again, and removes what belongs to git: the
// directory at the top, and the files in its place in submodules.
func (a *attempt) takeBack() error {
	if a.cfg.JobUser != nil {
		if err := os.Lchown(a.dir, os.Getuid(), os.Getgid()); err != nil {
			return fmt.Errorf("take work directory back: %w", err)
		}
	}
	err := filepath.WalkDir(a.checkout(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != ".git" {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove .git from the checkout: %w", err)
	}
	return nil
}
