package gitsource

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// clone is the bare clone of one repository. Its lock is held shared to read it,
// and alone to change it.
type clone struct {
	*Source
	url    string
	format string    // of its hashes
	bare   string    // its directory
	out    io.Writer // the log of the job that uses it now

	shallow bool // it has commits without their history
	fetched bool // it may have grown
}

var notPlain = regexp.MustCompile(`[^A-Za-z0-9_.]+`)

// cloneOf names the clone after its repository, so that people find it, and after
// the hash of the whole address, so that no two meet.
func (s *Source) cloneOf(r Request, log io.Writer) *clone {
	format := "sha1"
	if len(r.Commits[0]) == 64 {
		format = "sha256"
	}
	name := "repository"
	if u, err := url.Parse(r.URL); err == nil {
		name = strings.Trim(notPlain.ReplaceAllString(strings.TrimSuffix(filepath.Base(u.Path), ".git"), "-"), "-.")
	}
	sum := sha256.Sum256([]byte(format + " " + r.URL))
	return &clone{Source: s, url: r.URL, format: format, out: log,
		bare: filepath.Join(s.dir, fmt.Sprintf("%.40s-%x.git", name, sum[:12]))}
}

// withoutHistory is the clone of the same repository that has commits without their
// history: a job that needs that must never find one of them.
func (c *clone) withoutHistory() *clone {
	own := *c
	own.shallow, own.bare = true, strings.TrimSuffix(c.bare, ".git")+"-shallow.git"
	return &own
}

func (c *clone) exists() bool {
	_, err := os.Stat(c.bare)
	return err == nil
}

// hold returns with the clone locked and every commit of r in it.
func (c *clone) hold(ctx context.Context, r Request, rebuild bool) (unlock func(), err error) {
	if !rebuild {
		unlock, err := c.lock(ctx, shared)
		if err != nil {
			return nil, err
		}
		missing, err := c.missing(ctx, r.Commits)
		if err == nil && len(missing) == 0 {
			c.metrics.hits.Inc()
			return unlock, nil
		}
		unlock()
		if err != nil {
			return nil, err
		}
	}
	unlock, err = c.lock(ctx, alone)
	if err != nil {
		return nil, err
	}
	if err := c.update(ctx, r, rebuild); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// lock takes the clone's lock, whose file's time says when it was last used.
func (c *clone) lock(ctx context.Context, how int) (unlock func(), err error) {
	path := lockFileOf(c.bare)
	unlock, err = lock(ctx, path, how, c.waits)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		unlock()
		return nil, fmt.Errorf("note use of clone: %w", err)
	}
	return unlock, nil
}

func (c *clone) waits() error {
	_, err := fmt.Fprintf(c.out, "Waiting for another job that fetches %s\n", c.url)
	return err
}

// update repairs the clone, and fetches what it lacks. The caller holds the lock alone.
func (c *clone) update(ctx context.Context, r Request, rebuild bool) error {
	if rebuild {
		if err := os.RemoveAll(c.bare); err != nil {
			return fmt.Errorf("remove damaged clone: %w", err)
		}
	}
	if err := c.ensure(ctx); err != nil {
		return err
	}
	missing, err := c.missing(ctx, r.Commits)
	if err != nil || len(missing) == 0 {
		return err
	}
	if _, err := fmt.Fprintf(c.out, "Fetching %s\n", c.url); err != nil {
		return err
	}
	c.fetched = true
	began := time.Now()
	err = c.fetch(ctx, r, missing)
	c.metrics.fetched(time.Since(began), err)
	return err
}

// half marks a clone that is being made.
const half = ".new"

// ensure makes the clone if there is none, and takes away what a crash may have
// left in it: with the lock held alone, no lock file of git's has an owner.
func (c *clone) ensure(ctx context.Context) error {
	if _, err := os.Stat(c.bare); err == nil {
		return c.sweep()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open clone: %w", err)
	}
	made := c.bare + half
	if err := os.RemoveAll(made); err != nil {
		return fmt.Errorf("remove half a clone: %w", err)
	}
	said, ok, err := c.git(ctx, command{dir: c.dir,
		args: []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=none", "--object-format=" + c.format, "--", made}})
	if err == nil && !ok {
		err = errors.New(lastWords(said))
	}
	if err == nil {
		err = os.Rename(made, c.bare)
	}
	if err != nil {
		return fmt.Errorf("make clone of %s: %w", c.url, err)
	}
	return nil
}

var looseObjects = regexp.MustCompile(`^objects/[0-9a-f]{2}$`)

func (c *clone) sweep() error {
	return filepath.WalkDir(c.bare, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("repair clone: %w", err)
		}
		name, _ := filepath.Rel(c.bare, path)
		switch {
		case d.IsDir() && looseObjects.MatchString(name):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case strings.HasSuffix(name, ".lock"), name == "gc.pid",
			strings.HasPrefix(name, "objects/") && strings.HasPrefix(d.Name(), "tmp_"):
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("repair clone: %w", err)
			}
		}
		return nil
	})
}

// missing lists the commits that the clone does not have.
func (c *clone) missing(ctx context.Context, commits []string) (missing []string, err error) {
	if _, err := os.Stat(c.bare); err != nil {
		return commits, nil
	}
	for _, commit := range commits {
		_, ok, err := c.in(ctx, "cat-file", "-e", "--end-of-options", commit+"^{commit}")
		if err != nil {
			return nil, err
		}
		if !ok {
			missing = append(missing, commit)
		}
	}
	return missing, nil
}

// in runs git in the clone.
func (c *clone) in(ctx context.Context, args ...string) (said string, ok bool, err error) {
	return c.git(ctx, command{dir: c.dir, args: args, env: []string{"GIT_DIR=" + c.bare}})
}
