package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Place is where a job's checkout is.
type Place struct {
	Dir  string   // the checkout
	Home string   // a directory of the job
	Hide []string // what git, like the job itself, does not see: see supervise.Command
	Keep string
}

// Checkout fills a directory that Prepare made and that now belongs to the job's
// user, with that user's rights: the first commit, the others merged onto it,
// submodules recursively. Its errors are like those of Prepare.
func (s *Source) Checkout(ctx context.Context, r Request, p Place, log io.Writer) error {
	w := &worktree{Source: s, Place: p, log: log}
	steps := []func(context.Context) error{func(ctx context.Context) error { return w.checkout(ctx, r.Commits[0]) }}
	for _, commit := range r.Commits[1:] {
		steps = append(steps, func(ctx context.Context) error { return w.merge(ctx, r.Commits[0], commit) })
	}
	for _, step := range append(steps, w.submodules) {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// worktree is the checkout of one job.
type worktree struct {
	*Source
	Place
	log io.Writer
}

func (w *worktree) checkout(ctx context.Context, commit string) error {
	if _, err := fmt.Fprintf(w.log, "Checking out %s\n", commit); err != nil {
		return err
	}
	said, ok, err := w.in(ctx, w.log, "checkout", "--quiet", "--force", "--detach", commit, "--")
	if err != nil || ok {
		return err
	}
	return w.failed(said, fmt.Sprintf("check out %s", commit))
}

func (w *worktree) merge(ctx context.Context, onto, commit string) error {
	if _, err := fmt.Fprintf(w.log, "Merging %s\n", commit); err != nil {
		return err
	}
	said, ok, err := w.in(ctx, w.log, "merge", "--quiet", "--no-edit", "--no-verify", "--no-gpg-sign", "--end-of-options", commit)
	if err != nil || ok {
		return err
	}
	conflicts, listed, err := w.in(ctx, nil, "diff", "--name-only", "--diff-filter=U")
	if err != nil {
		return err
	}
	if files := strings.Split(strings.TrimSpace(conflicts), "\n"); listed && files[0] != "" {
		return failure("commit %s does not merge onto %s: conflict in %s; rebase one onto the other", commit, onto, strings.Join(files, ", "))
	}
	return w.failed(said, fmt.Sprintf("merge %s onto %s", commit, onto))
}

func (w *worktree) submodules(ctx context.Context) error {
	if _, err := os.Lstat(filepath.Join(w.Dir, ".gitmodules")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := fmt.Fprintln(w.log, "Updating submodules"); err != nil {
		return err
	}
	said, ok, err := w.in(ctx, w.log, "submodule", "--quiet", "update", "--init", "--recursive", "--force")
	if err != nil || ok {
		return err
	}
	if strings.HasSuffix(lastWords(said), " not allowed") {
		return failure("cannot update submodules: %s; it may be %s", lastWords(said), strings.Join(schemes, ", "))
	}
	return w.failed(said, "update submodules")
}

// failed tells a fault of the source from one of the network or this machine.
func (w *worktree) failed(said, what string) error {
	if faultOf(said) == faultMachine {
		return fmt.Errorf("%s: %s", what, lastWords(said))
	}
	return failure("cannot %s: %s", what, lastWords(said))
}

// in runs git in the checkout as the job's user.
func (w *worktree) in(ctx context.Context, log io.Writer, args ...string) (said string, ok bool, err error) {
	return w.git(ctx, command{dir: w.Dir, args: args, user: w.jobUser, log: log, hide: w.Hide, keep: w.Keep, env: []string{
		"HOME=" + w.Home,
		"GIT_CEILING_DIRECTORIES=" + filepath.Dir(w.Dir),
		"GIT_AUTHOR_NAME=weir", "GIT_AUTHOR_EMAIL=weir@localhost", "GIT_AUTHOR_DATE=" + mergeDate,
		"GIT_COMMITTER_NAME=weir", "GIT_COMMITTER_EMAIL=weir@localhost", "GIT_COMMITTER_DATE=" + mergeDate,
	}})
}

// mergeDate is the date of every merge, so that the same commits merged again are
// the same commit.
const mergeDate = "2000-01-01T00:00:00Z"
