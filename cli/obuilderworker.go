package cli

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/workerd"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/job"
	"github.com/weirbuild/weir/workerd/obuilder/linux"
	"github.com/weirbuild/weir/workerd/obuilder/runc"
	"github.com/weirbuild/weir/workerd/sandbox"
)

// obuilderEvery is how often a worker makes room and brings results to the disk.
const obuilderEvery = time.Minute

// obuilderEngine is a worker's engine for OBuilder and sandbox jobs, and what it
// may be told.
type obuilderEngine struct {
	store   string
	mirrors []string
	cpus    float64
	memory  int64
	pids    int64
	minFree float64
	results int

	engine *linux.Engine
	log    hclog.Logger
}

func (o *obuilderEngine) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.store, "obuilder-store", linux.Auto, "how results of OBuilder jobs, and base images, are kept: overlay, copy, or auto, the first that works")
	f.StringArrayVar(&o.mirrors, "registry-mirror", nil, "REGISTRY=URL to ask first for base images, as in docker.io=https://mirror.example.org; may be repeated")
	f.Float64Var(&o.cpus, "step-cpus", 0, "most processors that a step of an OBuilder job, or a command on an image, may use; 0: all")
	f.Var((*bytesize.Size)(&o.memory), "step-memory", "most memory that a step of an OBuilder job, or a command on an image, may use; 0: all")
	f.Int64Var(&o.pids, "step-pids", runc.DefaultPIDs, "most processes that a step of an OBuilder job, or a command on an image, may have")
	f.Float64Var(&o.minFree, "obuilder-min-free", 10, "percent of bytes and of inodes of the disk below which results of OBuilder jobs are removed, those used longest ago first")
	f.IntVar(&o.results, "obuilder-results", 0, "most results of OBuilder jobs that are kept; 0: any number")
}

// open opens the engine.
func (o *obuilderEngine) open(env workerd.Env) error {
	o.log = env.Logger.Named("obuilder")
	c := linux.Config{Dir: filepath.Join(env.StateDir, "obuilder"), Store: o.store, FastSync: true, Metrics: env.Registerer,
		Limits: obuilder.Limits{CPUs: o.cpus, Memory: o.memory, PIDs: o.pids}}
	for _, text := range o.mirrors {
		m, err := fetch.ParseMirror(text)
		if err != nil {
			return err
		}
		c.Mirrors = append(c.Mirrors, m)
	}
	var err error
	if o.engine, err = linux.Open(context.Background(), c); err != nil {
		return err
	}
	if o.engine.Lesser != nil {
		o.log.Warn("each step of an OBuilder job copies its base", "why", o.engine.Lesser)
	}
	return nil
}

// specs makes the executor of OBuilder jobs.
func (x *engines) specs(env workerd.Env) (executor.Executor, error) {
	return job.New(job.Config{WorkDir: filepath.Join(env.WorkDir, "obuilder"), Builder: x.obuilder.engine, Source: x.source, JobUser: x.jobUser,
		PassEnv: x.cfg.PassEnv, Log: x.obuilder.log})
}

// images makes the executor of commands on base images.
func (x *engines) images(env workerd.Env) (executor.Executor, error) {
	return sandbox.New(sandbox.Config{WorkDir: filepath.Join(env.WorkDir, "sandbox"), Engine: x.obuilder.engine, Source: x.source, JobUser: x.jobUser,
		PassEnv: x.cfg.PassEnv, Grace: x.cfg.Grace, Log: env.Logger.Named("sandbox")})
}

// maintain makes room and syncs until ctx ends.
func (o *obuilderEngine) maintain(ctx context.Context) {
	if o.engine == nil {
		return
	}
	tick := time.NewTicker(obuilderEvery)
	defer tick.Stop()
	for {
		room := obuilder.Room{Free: obuilder.Space{Bytes: o.minFree, Inodes: o.minFree}, Results: o.results}
		removed, enough, err := o.engine.MakeRoom(ctx, room)
		if removed > 0 {
			o.log.Info("removed results of OBuilder jobs to make room", "results", removed)
		}
		if err == nil && !enough {
			o.log.Warn("the disk is too full, and no result of OBuilder jobs is left to remove", "dir", o.engine.Dir(), "want free percent", o.minFree)
		}
		if err = errors.Join(err, o.engine.Sync()); err != nil && ctx.Err() == nil {
			o.log.Warn("the results of OBuilder jobs could not be kept in order", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (o *obuilderEngine) close() {
	if o.engine == nil {
		return
	}
	if err := o.engine.Close(); err != nil {
		o.log.Warn("close the engine of OBuilder jobs", "error", err)
	}
}
