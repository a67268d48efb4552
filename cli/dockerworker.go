package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/workerd"
	"github.com/weirbuild/weir/workerd/cgroup"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/secretdir"
)

// dockerEngine is what a worker is told of the engine that builds Dockerfiles.
type dockerEngine struct {
	addr      string
	allowPush []string
	limits    cgroup.Limits
	secrets   *secretdir.Area // nil: Docker jobs can have none
}

func (d *dockerEngine) addFlags(f *pflag.FlagSet) {
	f.StringVar(&d.addr, "buildkit-addr", docker.DefaultBuildkitAddr, "where buildkitd listens, for --docker=buildkit")
	f.StringArrayVar(&d.allowPush, "allow-push", nil, "repository, or the beginning of its path, that Docker jobs may push images and caches to, such as registry.example.org/team; may be repeated")
	f.Float64Var(&d.limits.CPUs, "dockerfile-cpus", 0, "most processors that all steps of Dockerfiles may use together; 0: all")
	f.Var((*bytesize.Size)(&d.limits.Memory), "dockerfile-memory", "most memory that all steps of Dockerfiles may use together; 0: all")
	f.Int64Var(&d.limits.PIDs, "dockerfile-pids", 0, "most processes that all steps of Dockerfiles may have together; 0: any number")
}

// dockerfiles makes the executor of Docker jobs.
func (x *engines) dockerfiles(env workerd.Env) (executor.Executor, error) {
	log := env.Logger.Named("docker")
	engine, what, err := docker.Open(context.Background(), docker.EngineConfig{Kind: x.cfg.Docker, BuildkitAddr: x.docker.addr,
		Dir: filepath.Join(env.StateDir, "docker"), Runner: x.runner, Limits: x.docker.limits})
	if err != nil {
		return nil, err
	}
	log.Info("builds Dockerfiles", "engine", what)
	work := filepath.Join(env.WorkDir, "docker")
	if x.docker.secrets, err = secretdir.Open(work); err != nil {
		log.Warn("jobs with secrets will fail", "error", err)
	}
	return docker.New(docker.Config{Secrets: x.docker.secrets, WorkDir: work, Engine: engine, Source: x.source, JobUser: x.jobUser,
		AllowPush: x.docker.allowPush, Grace: x.cfg.Grace, Log: log})
}
