package gitsource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// export makes a repository at dir with the commits and what the clone has of their history in one pack
// of its own: no link, no alternate, and nothing that only the cache has.
func (c *clone) export(ctx context.Context, r Request, dir string) error {
	said, ok, err := c.git(ctx, command{dir: filepath.Dir(dir),
		args: []string{"init", "--quiet", "--template=", "--initial-branch=none", "--object-format=" + c.format, "--", dir}})
	if err == nil && !ok {
		err = errors.New(lastWords(said))
	}
	if err != nil {
		return fmt.Errorf("make checkout: %w", err)
	}
	if err := nameOrigin(filepath.Join(dir, ".git", "config"), r.URL); err != nil {
		return fmt.Errorf("make checkout: %w", err)
	}
	if c.shallow {
		// Whatever the commit's parents are, they are not here.
		if err := os.WriteFile(filepath.Join(dir, ".git", "shallow"), []byte(r.Commits[0]+"\n"), 0o644); err != nil {
			return fmt.Errorf("make checkout: %w", err)
		}
	}
	return c.pack(ctx, r.Commits, filepath.Join(dir, ".git", "objects", "pack", "pack"))
}

// nameOrigin makes relative addresses of submodules work, and git fetch in a job.
// Validate lets no character pass that a quoted value would have to escape.
func nameOrigin(config, url string) error {
	f, err := os.OpenFile(config, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "[remote \"origin\"]\n\turl = \"%s\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n", url)
	return err
}

func (c *clone) pack(ctx context.Context, commits []string, base string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer read.Close()
	_, err = write.WriteString(strings.Join(commits, "\n") + "\n") // at most 1 KiB: it fits the pipe
	write.Close()
	if err != nil {
		return fmt.Errorf("name commits to pack: %w", err)
	}
	said, ok, err := c.git(ctx, command{dir: c.dir, stdin: read, env: []string{"GIT_DIR=" + c.bare},
		args: []string{"pack-objects", "-q", "--revs", "--delta-base-offset", base}})
	switch {
	case err != nil:
		return err
	case ok:
		return nil
	case faultOf(said) == faultMachine:
		return fmt.Errorf("copy history to the checkout: %s", lastWords(said))
	}
	return fmt.Errorf("%w: %s", errDamaged, lastWords(said))
}
