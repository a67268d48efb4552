package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/linux"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

type obuilderBuildOptions struct {
	dir      string
	store    string
	mirrors  []string
	secrets  []string
	passEnv  []string
	cpus     float64
	memory   int64
	fastSync bool
}

func newOBuilderBuild(e *env) *cobra.Command {
	var o obuilderBuildOptions
	c := &cobra.Command{
		Use:   "build FILE [CONTEXT]",
		Short: "Build a spec on this machine",
		Long: "Build a spec on this machine, as root; the spec copies from the directory CONTEXT. Results are kept for the next\n" +
			"build. Base images may also be files: (from oci:DIR) and (from docker-archive:FILE), with paths that begin with / or .",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return runOBuilderBuild(c.Context(), e, o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.dir, "dir", "", "where results are kept (weir-obuilder in the user's cache directory when not given)")
	f.StringVar(&o.store, "store", linux.Auto, "how they are kept: overlay, copy, or auto, the first that works")
	f.StringArrayVar(&o.mirrors, "registry-mirror", nil, "REGISTRY=URL to ask first, as in docker.io=https://mirror.example.org")
	f.StringArrayVar(&o.secrets, "secret", nil, "ID:FILE: the value of a secret of the spec")
	f.StringArrayVar(&o.passEnv, "pass-env", nil, "variable of this command that builds see too; it does not make another result")
	f.Float64Var(&o.cpus, "cpus", 0, "processors that a step may use (all when not given)")
	f.Int64Var(&o.memory, "memory", 0, "bytes of memory that a step may use (all when not given)")
	f.BoolVar(&o.fastSync, "fast-sync", false, "let builds skip fsync: a crash of the machine discards them anyway")
	return c
}

func runOBuilderBuild(ctx context.Context, e *env, o obuilderBuildOptions, args []string) (err error) {
	_, s, err := e.readSpec(args[0])
	if err != nil {
		return err
	}
	r, err := o.request(s, args[1:])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	engine, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	if engine.Lesser != nil {
		e.say("each step copies its base: %s", engine.Lesser)
	}
	id, err := engine.Build(ctx, r, e.stdout)
	var failure *obuilder.Failure
	switch {
	case errors.As(err, &failure):
		return &codedError{exitBuildFailed, fmt.Errorf("build failed: %s: %w", args[0], err)}
	case err != nil && ctx.Err() != nil:
		return &codedError{exitCancelled, errors.New("build cancelled")}
	case err != nil:
		return &codedError{exitInternal, err}
	}
	e.say("built %s", id)
	return nil
}

func (o *obuilderBuildOptions) request(s *spec.Spec, context []string) (obuilder.Request, error) {
	r := obuilder.Request{Spec: s, Secrets: map[string][]byte{}}
	for _, dir := range context {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return r, usageError("the context %s is not a directory", dir)
		}
		r.Context = dir
	}
	for _, text := range o.secrets {
		id, file, ok := strings.Cut(text, ":")
		if !ok {
			return r, usageError("--secret %q: want ID:FILE", text)
		}
		value, err := os.ReadFile(file)
		if err != nil {
			return r, usageError("read the secret %s: %w", id, err)
		}
		r.Secrets[id] = value
	}
	for _, name := range o.passEnv {
		if value, ok := os.LookupEnv(name); ok {
			r.Passed = append(r.Passed, name+"="+value)
		}
	}
	return r, nil
}

func (o *obuilderBuildOptions) open(ctx context.Context) (*linux.Engine, error) {
	c := linux.Config{Dir: o.dir, Store: o.store, Local: true, FastSync: o.fastSync, Limits: obuilder.Limits{CPUs: o.cpus, Memory: o.memory}}
	for _, text := range o.mirrors {
		m, err := fetch.ParseMirror(text)
		if err != nil {
			return nil, usageError("%w", err)
		}
		c.Mirrors = append(c.Mirrors, m)
	}
	if c.Dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, usageError("no place for results: %w: give one with --dir", err)
		}
		c.Dir = filepath.Join(cache, "weir-obuilder")
	}
	engine, err := linux.Open(ctx, c)
	if err != nil {
		return nil, usageError("%w", err)
	}
	return engine, nil
}
