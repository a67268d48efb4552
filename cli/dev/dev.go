// Package dev is `weir dev`: a real cluster on this machine, a real build, and
// the leader's death in the middle of it. It promises to need no root, to show
// what happened with measured figures, and to leave nothing running. Its
// builds run as the user who started it unless that is root: it is for trying
// weir, not for builds that one does not trust.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
)

// Options tune the demo.
type Options struct {
	Dir    string // "" makes a temporary one and removes it
	Binary string
	Serve  bool      // leave the leader alone and run until ctx ends
	Out    io.Writer // the build's log
	Err    io.Writer // what the demo tells
}

const poolName = "dev"

// demo is one run of the demo.
type demo struct {
	Options
	cluster   *local.Cluster
	workerCap string
	submitCap capability.Capability
	repoURL   string
	repo      *repository
	started   time.Time
}

// Run is the whole demo. The error says what did not go as promised.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{Options: o, started: time.Now()}
	if d.Dir == "" {
		if d.Dir, err = os.MkdirTemp("", "weir-dev-"); err != nil {
			return fmt.Errorf("make a directory for the demo: %w", err)
		}
		defer func() { err = errors.Join(err, removeAll(d.Dir)) }()
	} else if err := os.Mkdir(d.Dir, 0o755); err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	// Others must be able to pass through, should the builds run as another user.
	if err := os.Chmod(d.Dir, 0o755); err != nil {
		return fmt.Errorf("open the demo's directory: %w", err)
	}
	if d.repo, err = gitSource(ctx, d.Dir); err != nil {
		return err
	}
	url, stopGit, err := serveGit(ctx, d.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopGit()) }()
	d.repoURL = url + "/weir.git"
	if err := d.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.cluster.Close()) }()
	if o.Serve {
		return d.serve(ctx)
	}
	return d.story(ctx)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.Err, "%6.2fs  %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

// start brings up three nodes, a pool, two workers and a client.
func (d *demo) start(ctx context.Context) (err error) {
	d.say("starting three nodes, each a process with its own disk and certificate, in %s", d.Dir)
	if d.cluster, err = local.Start(ctx, local.Config{Dir: d.Dir, Binary: d.Binary}); err != nil {
		return err
	}
	if err := d.setUp(ctx); err != nil {
		return errors.Join(err, d.cluster.Close())
	}
	return nil
}

func (d *demo) setUp(ctx context.Context) error {
	cl, err := d.cluster.Client(d.cluster.Admin, client.Options{Patience: 20 * time.Second})
	if err != nil {
		return err
	}
	defer cl.Close()
	if d.workerCap, err = createPool(ctx, cl, d.Dir); err != nil {
		return err
	}
	if d.submitCap, err = addClient(ctx, cl); err != nil {
		return err
	}
	flags := []string{"--pool", poolName, "--slots", "2", "--allow-command", "--pass-env", "PATH"}
	if os.Geteuid() == 0 {
		if _, err := user.Lookup("nobody"); err != nil {
			return fmt.Errorf("started as root, builds need another user: %w", err)
		}
		flags = append(flags, "--job-user", "nobody")
	}
	var workers []*local.Process
	for _, name := range []string{"w1", "w2"} {
		p, err := d.cluster.StartWorker(name, d.workerCap, flags...)
		if err != nil {
			return err
		}
		workers = append(workers, p)
	}
	d.say("two workers started in pool %q", poolName)
	return waitWorkers(ctx, cl, workers)
}

// serve runs until the context ends, for trying the other commands. The file
// "env" appears once everything is ready.
func (d *demo) serve(ctx context.Context) error {
	submit := filepath.Join(d.Dir, "submit.cap")
	if err := d.submitCap.Save(submit); err != nil {
		return err
	}
	lines := fmt.Sprintf("export WEIR_ADMIN=%s\nexport WEIR_CAPABILITY=%s\nexport WEIR_POOL=%s\nexport WEIR_REPO=%s\nexport WEIR_COMMIT=%s\n",
		filepath.Join(d.Dir, "admin.cap"), submit, poolName, d.repoURL, d.repo.commit)
	file := filepath.Join(d.Dir, "env")
	if err := os.WriteFile(file+".new", []byte(lines), 0o600); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	d.say("ready; in another terminal:")
	fmt.Fprintf(d.Err, "\n  . %s\n  weir submit --pool $WEIR_POOL --repo $WEIR_REPO --commit $WEIR_COMMIT -- ls\n"+
		"  weir status --connect $WEIR_ADMIN\n\nCtrl-C stops everything.\n", file)
	<-ctx.Done()
	return nil
}

// removeAll also removes what a build made unwritable.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
