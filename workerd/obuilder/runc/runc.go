// Package runc runs commands in containers that runc makes.
//
// It promises that no process of a command is left when Run returns, that what
// an earlier process left is gone after Open, and that a secret's value touches
// no disk. It needs root.
package runc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/weirbuild/weir/workerd/cgroup"
	"github.com/weirbuild/weir/workerd/obuilder"
)

// Config says how commands are run.
type Config struct {
	Dir      string // for containers; this process's alone
	Program  string // "": runc
	FastSync bool   // calls that sync files do nothing
	Limits   obuilder.Limits
}

// DefaultPIDs is how many processes a command may have where nothing else says so.
const DefaultPIDs = 16384

// Sandbox runs commands.
type Sandbox struct {
	cfg     Config
	prefix  string // of container names, which share the cgroups of the machine
	secrets *memory
	groups  cgroup.Groups
	next    atomic.Int64
}

var _ obuilder.Sandbox = (*Sandbox)(nil)

// Open makes the directory, and removes what an earlier process left in it.
func Open(ctx context.Context, c Config) (*Sandbox, error) {
	if c.Program == "" {
		c.Program = "runc"
	}
	if c.Limits.PIDs == 0 {
		c.Limits.PIDs = DefaultPIDs
	}
	if _, err := exec.LookPath(c.Program); err != nil {
		return nil, fmt.Errorf("open sandbox: %w: install the package runc", err)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	c.Dir = dir
	sum := sha256.Sum256([]byte(dir))
	s := &Sandbox{cfg: c, groups: cgroup.Here(), prefix: "weir-" + hex.EncodeToString(sum[:4]) + "-"}
	if err := os.MkdirAll(s.path("state"), 0o700); err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	if err := s.clean(ctx); err != nil {
		return nil, fmt.Errorf("clean sandbox: %w", err)
	}
	if err := os.WriteFile(s.path("hosts"), []byte("127.0.0.1 localhost "+hostname+"\n::1 localhost\n"), 0o644); err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	if s.secrets, err = openMemory(s.path("secrets")); err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	return s, nil
}

func (s *Sandbox) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

// Close removes what the sandbox needed. No command may be running.
func (s *Sandbox) Close() error {
	return errors.Join(s.secrets.close(), os.RemoveAll(s.path("bundles")))
}

// clean ends the containers of an earlier process, and removes their bundles.
func (s *Sandbox) clean(ctx context.Context) error {
	left, err := os.ReadDir(s.path("state"))
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := s.call(ctx, "delete", "--force", e.Name()); err != nil {
			return err
		}
		// A container that was only half made is no container to runc.
		if err := os.RemoveAll(filepath.Join(s.path("state"), e.Name())); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(s.path("bundles")); err != nil {
		return err
	}
	return os.Mkdir(s.path("bundles"), 0o700)
}

func (s *Sandbox) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, s.cfg.Program, append([]string{"--root", s.path("state")}, args...)...)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return c
}

func (s *Sandbox) call(ctx context.Context, args ...string) error {
	out, err := s.command(ctx, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("runc %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Run implements obuilder.Sandbox.
func (s *Sandbox) Run(ctx context.Context, root string, c obuilder.Command, out io.Writer) (_ obuilder.Exit, err error) {
	if ctx.Err() != nil {
		return obuilder.Exit{}, context.Cause(ctx)
	}
	k := s.container(root, c)
	defer func() { err = errors.Join(err, k.remove()) }()
	if err := k.prepare(); err != nil {
		return obuilder.Exit{}, fmt.Errorf("prepare container: %w", err)
	}
	return k.run(ctx, out)
}

// container is one command's.
type container struct {
	*Sandbox
	obuilder.Command
	root    string
	id      string
	bundle  string
	secrets string // a directory in memory
	watched bool   // it stays after its end, until its cgroup was asked
}

func (s *Sandbox) container(root string, c obuilder.Command) *container {
	c.Limits = within(c.Limits, s.cfg.Limits)
	id := s.prefix + strconv.FormatInt(s.next.Add(1), 10)
	return &container{Sandbox: s, Command: c, root: root, id: id, bundle: filepath.Join(s.path("bundles"), id),
		secrets: filepath.Join(s.secrets.dir, id), watched: c.Limits.Memory > 0}
}

// within are the limits that were asked for, as far as the sandbox's own allow.
func within(asked, own obuilder.Limits) obuilder.Limits {
	return obuilder.Limits{
		CPUs:   lower(asked.CPUs, own.CPUs),
		Memory: lower(asked.Memory, own.Memory),
		PIDs:   lower(asked.PIDs, own.PIDs),
	}
}

// lower is the lower of two limits, of which 0 is none.
func lower[T int64 | float64](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func (k *container) prepare() error {
	if err := os.Mkdir(k.bundle, 0o700); err != nil {
		return err
	}
	if len(k.Secrets) > 0 {
		if err := k.writeSecrets(); err != nil {
			return err
		}
	}
	config, err := k.config()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.bundle, "config.json"), config, 0o600)
}

func (k *container) run(ctx context.Context, out io.Writer) (obuilder.Exit, error) {
	log := filepath.Join(k.bundle, "runc.log")
	args := []string{"--log", log, "--log-format", "json", "run", "--bundle", k.bundle}
	if k.watched {
		args = append(args, "--keep")
	}
	// Runc must live until its container has ended: it is never killed by ctx.
	cmd := k.command(context.WithoutCancel(ctx), append(args, k.id)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return obuilder.Exit{}, fmt.Errorf("start runc: %w", err)
	}
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() { // ends with the command
		defer close(killed)
		select {
		case <-ctx.Done():
			k.stop(context.Cause(ctx), ended)
		case <-ended:
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-killed
	if ctx.Err() != nil {
		return obuilder.Exit{}, context.Cause(ctx)
	}
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		return obuilder.Exit{}, fmt.Errorf("run container: %w", err)
	}
	if err := startError(log); err != nil {
		return obuilder.Exit{}, err
	}
	exit := obuilder.Exit{Code: cmd.ProcessState.ExitCode()}
	if k.watched && exit.Code != 0 {
		kills, err := k.groups.Kills(k.id)
		exit.OutOfMemory = kills > 0
		return exit, err
	}
	return exit, nil
}

// remove removes the container, and all that it was made of.
func (k *container) remove() error {
	var err error
	if _, left := os.Stat(filepath.Join(k.path("state"), k.id)); left == nil {
		err = k.call(context.Background(), "delete", "--force", k.id)
	}
	return errors.Join(err, os.RemoveAll(k.bundle), os.RemoveAll(k.secrets))
}
