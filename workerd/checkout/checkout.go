// Package checkout makes the checkouts of jobs that the worker builds with its own
// rights, in containers or by an engine.
//
// It promises that what a repository contains is handled with the job user's rights
// only, that a checkout is the attempt's own and is gone afterwards, also after a
// crash, and that from Fill on nobody but the worker can reach it. It refuses to
// run anything in it.
package checkout

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
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/supervise"
)

// Config says where checkouts are, and who makes them.
type Config struct {
	WorkDir string // for checkouts; its user's alone, emptied at start
	Source  *gitsource.Source
	JobUser *supervise.User // who checks out; nil: the worker's own user
	Log     hclog.Logger    // nil: nothing is logged
}

// Area is a directory of checkouts.
type Area struct{ cfg Config }

// Open makes the work directory and removes what an earlier worker left in it.
func Open(c Config) (*Area, error) {
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
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
	return &Area{c}, nil
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

// Begin gives an attempt its private directory. Close ends it.
func (a *Area) Begin(lease uint64) (*Attempt, error) {
	t := &Attempt{Area: a, dir: filepath.Join(a.cfg.WorkDir, fmt.Sprintf("attempt-%d", lease))}
	for _, d := range []string{t.dir, t.home()} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("make work directory: %w", err), os.RemoveAll(t.dir))
		}
	}
	return t, nil
}

// Attempt is the private directory of one attempt. Only the worker can reach it,
// except while Fill runs.
type Attempt struct {
	*Area
	dir string
}

// Dir is the checkout. It is there after Fill or Empty.
func (a *Attempt) Dir() string { return filepath.Join(a.dir, "checkout") }

func (a *Attempt) home() string { return filepath.Join(a.dir, "home") }

// Scratch makes another private directory of the attempt.
func (a *Attempt) Scratch(name string) (string, error) {
	dir := filepath.Join(a.dir, "scratch-"+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make scratch directory: %w", err)
	}
	return dir, nil
}

// Close removes everything.
func (a *Attempt) Close() {
	if err := os.RemoveAll(a.dir); err != nil {
		a.cfg.Log.Warn("remove work directory", "dir", a.dir, "error", err)
	}
}

// Empty makes a checkout without any files.
func (a *Attempt) Empty() error {
	if err := os.Mkdir(a.Dir(), 0o755); err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	return nil
}

// Fill makes the checkout with the job user's rights, and takes it back. Without
// history the commits come alone, where their server can do that. A
// *gitsource.Failure is the source's fault.
func (a *Attempt) Fill(ctx context.Context, git *pb.GitContext, history bool, out io.Writer) error {
	if a.cfg.Source == nil {
		return errors.New("this worker has no git")
	}
	r := gitsource.Request{URL: git.GetUrl(), Commits: git.GetCommits(), Bare: !history}
	if err := a.cfg.Source.Prepare(ctx, r, a.Dir(), out); err != nil {
		return err
	}
	if err := a.handOver(); err != nil {
		return err
	}
	place := gitsource.Place{Dir: a.Dir(), Home: a.home(), Hide: []string{a.cfg.WorkDir}, Keep: a.dir}
	if err := a.cfg.Source.Checkout(ctx, r, place, out); err != nil {
		return err
	}
	if a.cfg.JobUser == nil {
		return nil
	}
	if err := os.Lchown(a.dir, os.Getuid(), os.Getgid()); err != nil {
		return fmt.Errorf("take work directory back: %w", err)
	}
	return nil
}

// handOver gives everything to the job user, the way in last: until then nobody
// can change what is below.
func (a *Attempt) handOver() error {
	user := a.cfg.JobUser
	if user == nil {
		return nil
	}
	err := chown(a.dir, int(user.UID), int(user.GID))
	if err == nil {
		err = os.Lchown(a.dir, int(user.UID), int(user.GID))
	}
	if err != nil {
		return fmt.Errorf("hand work directory to job user %q: %w", user.Name, err)
	}
	return nil
}

// Own gives the files of the checkout to the worker's own user.
func (a *Attempt) Own() error {
	err := os.Lchown(a.Dir(), os.Getuid(), os.Getgid())
	if err == nil {
		err = chown(a.Dir(), os.Getuid(), os.Getgid())
	}
	if err != nil {
		return fmt.Errorf("take checkout over: %w", err)
	}
	return nil
}

// chown gives all below dir to somebody.
func chown(dir string, uid, gid int) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

// DropGit removes what belongs to git: the directory at the top, and the files in
// its place in submodules. It differs between two checkouts of one commit.
func (a *Attempt) DropGit() error {
	err := filepath.WalkDir(a.Dir(), func(path string, d fs.DirEntry, err error) error {
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
