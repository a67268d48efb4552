// Package gitsource makes the private checkout of a job: one commit, with others
// merged onto it, and its submodules.
//
// It promises that what it fetches once it keeps, in one bare clone for each
// repository (and one of commits alone, for jobs that need no history), that such a
// clone repairs itself after a crash at any moment, and that a checkout shares
// nothing with it. Clones keep a limit together: the ones used longest ago go first,
// and none that is in use. What a repository contains is handled with the job's
// rights only; the worker's own rights fetch and pack, in clones that no job can read
// or write, where no hook, filter or configuration of a repository is ever looked at.
//
// It refuses addresses and commits that Validate refuses. It keeps no checkout, and
// no credentials: git reads them where the operator has put them.
package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/workerd/supervise"
)

// Config is what a Source needs.
type Config struct {
	Dir     string // the clones; made with mode 0700, used by this worker only
	Runner  *supervise.Runner
	JobUser *supervise.User // nil: jobs run as the worker's own user
	Env     []string        // "NAME=value" for every git: proxies, SSH_AUTH_SOCK
	// Credentials is a file with the credentials of hosts, for the worker's own
	// fetches, not for submodules; "": there are none. See checkCredentials.
	Credentials string
	Limit       int64        // bytes of all clones that are not in use; 0: none
	Log         hclog.Logger // nil: nothing is logged
	Metrics     prometheus.Registerer
}

// Request is the source of one job.
type Request struct {
	URL     string
	Commits []string // the first is checked out, the others are merged onto it
	// Bare says that nobody will look at the history: it need not be fetched, unless
	// a merge needs it.
	Bare bool
}

// Source makes checkouts, several at the same time.
type Source struct {
	dir     string
	run     *supervise.Runner
	jobUser *supervise.User
	path    string
	env     []string
	limit   int64

	credentials string

	log     hclog.Logger
	metrics *metrics

	pruning sync.Mutex // held by the one that measures and removes clones
}

// New makes the directory of the clones, checks that git is there, and prunes
// what is over the limit.
func New(ctx context.Context, c Config) (*Source, error) {
	s := &Source{dir: c.Dir, run: c.Runner, jobUser: c.JobUser, env: c.Env, limit: c.Limit, credentials: c.Credentials, log: c.Log, metrics: newMetrics(c.Metrics)}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	if s.credentials != "" {
		if err := checkCredentials(s.credentials); err != nil {
			return nil, err
		}
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("find git: %w; install git %s or later", err, oldest)
	}
	s.path = filepath.Dir(git) + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if err := s.checkVersion(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make clone cache: %w", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("close clone cache to others: %w", err)
	}
	if err := s.clear(); err != nil {
		return nil, err
	}
	return s, s.prune(ctx)
}

// oldest is the first git whose configuration we can give by the environment alone.
const oldest = "2.32"

func (s *Source) checkVersion(ctx context.Context) error {
	said, ok, err := s.git(ctx, command{dir: "/", args: []string{"version"}})
	if err != nil {
		return fmt.Errorf("ask git for its version: %w", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(said, "git version %d.%d", &major, &minor); err != nil || !ok {
		return fmt.Errorf("ask git for its version: it says %q", strings.TrimSpace(said))
	}
	if major < 2 || major == 2 && minor < 32 {
		return fmt.Errorf("git %d.%d is too old; install %s or later", major, minor, oldest)
	}
	return nil
}

// Prepare fetches what is missing and makes dir: a repository that holds the
// commits and their history, and no files yet. Only the worker may be able to
// reach dir meanwhile: hand it to the job's user afterwards, then call Checkout.
//
// A *Failure is the source's fault, any other error this machine's or the network's.
func (s *Source) Prepare(ctx context.Context, r Request, dir string, log io.Writer) error {
	if err := Validate(r.URL, r.Commits); err != nil {
		return failure("%s", err)
	}
	err := s.prepare(ctx, r, dir, log, false)
	if !errors.Is(err, errDamaged) {
		return err
	}
	s.metrics.rebuilt.Inc()
	if _, err := fmt.Fprintf(log, "The clone cache of %s was damaged: cloning it again\n", r.URL); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove half a checkout: %w", err)
	}
	return s.prepare(ctx, r, dir, log, true)
}

func (s *Source) prepare(ctx context.Context, r Request, dir string, log io.Writer, rebuild bool) error {
	c := s.cloneOf(r, log)
	if r.Bare && len(r.Commits) == 1 && !c.exists() {
		c = c.withoutHistory()
	}
	unlock, err := c.hold(ctx, r, rebuild)
	if errors.Is(err, errWhole) {
		c = s.cloneOf(r, log)
		unlock, err = c.hold(ctx, r, rebuild)
	}
	if err != nil {
		return err
	}
	err = c.export(ctx, r, dir)
	unlock()
	if !c.fetched {
		return err
	}
	// The job has what it needs: a cache that cannot be pruned is not its trouble.
	if e := s.prune(ctx); e != nil && ctx.Err() == nil {
		s.log.Warn("git clones could not be pruned", "error", e)
	}
	return err
}
