package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// fetch gets commits by their hashes alone where the server gives them so. Where
// it does not, it gets all branches, tags and proposed changes and looks there.
func (c *clone) fetch(ctx context.Context, r Request, missing []string) error {
	refs := make([]string, len(missing))
	for i, commit := range missing {
		refs[i] = fmt.Sprintf("+%s:refs/weir/%s", commit, commit) // a name keeps it from being pruned
	}
	said, ok, err := c.fetchRefs(ctx, refs)
	if err != nil {
		return err
	}
	if !ok && c.shallow && faultOf(said) != faultMachine && faultOf(said) != faultRefused {
		return errWhole
	}
	if !ok && faultOf(said) != faultMissing {
		return c.explain(ctx, said)
	}
	if !ok {
		if said, ok, err = c.fetchRefs(ctx, allRefs(c.url)); err != nil {
			return err
		}
		if !ok {
			return c.explain(ctx, said)
		}
	}
	missing, err = c.missing(ctx, r.Commits)
	if err == nil && len(missing) > 0 {
		err = failure("commit %s does not exist in %s, or is not on any branch, tag or proposed change of it", missing[0], c.url)
	}
	return err
}

// errWhole says that a server gives no commit without its history.
var errWhole = errors.New("the server gives whole histories only")

func (c *clone) fetchRefs(ctx context.Context, refs []string) (said string, ok bool, err error) {
	args := []string{"fetch", "--quiet", "--force", "--no-tags", "--prune", "--no-write-fetch-head",
		"--no-recurse-submodules", "--refmap="}
	if c.shallow {
		args = append(args, "--depth=1")
	}
	return c.in(ctx, append(append(args, "--end-of-options", c.url), refs...)...)
}

// allRefs are the places where a commit may be: proposed changes have a place of
// their own on GitHub, and another one on GitLab and its like.
func allRefs(repo string) []string {
	proposed := "merge-requests"
	if u, err := url.Parse(repo); err == nil && strings.EqualFold(u.Hostname(), "github.com") {
		proposed = "pull"
	}
	refs := []string{"heads", "tags", proposed}
	for i, name := range refs {
		refs[i] = fmt.Sprintf("+refs/%s/*:refs/all/%s/*", name, name)
	}
	return refs
}

// explain turns what a failed fetch said into an error. Where that does not point
// elsewhere the clone is checked, because after a crash it may be at fault.
func (c *clone) explain(ctx context.Context, said string) error {
	if _, err := io.WriteString(c.out, said); err != nil {
		return err
	}
	switch faultOf(said) {
	case faultMachine:
		return fmt.Errorf("fetch %s: %s", c.url, lastWords(said))
	case faultRefused, faultMissing:
		return failure("%s cannot be read by this worker: %s", c.url, lastWords(said))
	}
	checked, healthy, err := c.in(ctx, "fsck", "--connectivity-only", "--no-dangling", "--no-progress")
	switch {
	case err != nil:
		return err
	case !healthy:
		return fmt.Errorf("%w: %s", errDamaged, lastWords(checked))
	}
	return fmt.Errorf("fetch %s: %s", c.url, lastWords(said))
}
