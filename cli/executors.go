package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/jobkind"
	"github.com/weirbuild/weir/workerd"
	"github.com/weirbuild/weir/workerd/command"
	"github.com/weirbuild/weir/workerd/custom"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/secretdir"
	"github.com/weirbuild/weir/workerd/supervise"
)

// maintainEvery is how often the clone cache is packed and pruned.
const maintainEvery = time.Hour

// engines are what a worker runs jobs with.
type engines struct {
	cfg     workerd.Config
	jobUser *supervise.User // nil: the worker's own
	runner  *supervise.Runner
	source  *gitsource.Source
	secrets *secretdir.Area // nil: jobs that run on the host can have none
	log     hclog.Logger

	obuilder obuilderEngine
	docker   dockerEngine
}

// build implements workerd.Build.
func (x *engines) build(env workerd.Env) (map[string]executor.Executor, error) {
	ctx := context.Background()
	x.log = env.Logger
	if x.cfg.JobUser != "" {
		var err error
		if x.jobUser, err = supervise.LookupUser(x.cfg.JobUser); err != nil {
			return nil, err
		}
	}
	var err error
	if x.runner, err = supervise.New(ctx); err != nil {
		return nil, err
	}
	if x.runner.Lesser != nil {
		env.Logger.Warn("jobs run without a PID namespace", "mode", x.runner.Mode, "why", x.runner.Lesser)
	}
	x.source, err = gitsource.New(ctx, gitsource.Config{
		Dir: filepath.Join(env.StateDir, "git"), Runner: x.runner, JobUser: x.jobUser, Env: gitEnvironment(),
		Credentials: x.cfg.GitCredentials, Limit: x.cfg.GitCacheLimit, Log: env.Logger.Named("git"), Metrics: env.Registerer,
	})
	if err != nil {
		return nil, err
	}
	return x.executors(env)
}

// executors makes those that the worker's flags allow.
func (x *engines) executors(env workerd.Env) (map[string]executor.Executor, error) {
	if x.cfg.AllowOBuilder || x.cfg.AllowSandbox {
		if err := x.obuilder.open(env); err != nil {
			return nil, err
		}
	}
	executors := map[string]executor.Executor{}
	for _, k := range []struct {
		kind    string
		allowed bool
		make    func(workerd.Env) (executor.Executor, error)
	}{
		{"command", x.cfg.AllowCommand, x.commands},
		{"sandbox", x.cfg.AllowSandbox, x.images},
		{"obuilder", x.cfg.AllowOBuilder, x.specs},
		{"docker", x.cfg.Docker != "", x.dockerfiles},
	} {
		if !k.allowed {
			continue
		}
		e, err := k.make(env)
		if err != nil {
			return nil, err
		}
		executors[k.kind] = e
	}
	return executors, x.addCustom(env, executors)
}

// addCustom adds the kinds that the operator has programs for. They run as commands
// do.
func (x *engines) addCustom(env workerd.Env, executors map[string]executor.Executor) error {
	if len(x.cfg.Custom) == 0 {
		return nil
	}
	commands, ok := executors["command"].(*command.Executor)
	if !ok { // command jobs are not allowed
		var err error
		if commands, err = x.openCommands(env); err != nil {
			return err
		}
	}
	for _, text := range x.cfg.Custom {
		kind, err := custom.ParseKind(text)
		if err != nil {
			return err
		}
		name := jobkind.Custom(kind.Name)
		if executors[name] != nil {
			return fmt.Errorf("custom kind %s has two programs: give --custom once for it", kind.Name)
		}
		executors[name] = custom.New(kind, commands)
	}
	return nil
}

func (x *engines) commands(env workerd.Env) (executor.Executor, error) { return x.openCommands(env) }

func (x *engines) openCommands(env workerd.Env) (*command.Executor, error) {
	var err error
	if x.secrets, err = secretdir.Open(env.WorkDir); err != nil {
		env.Logger.Warn("jobs with secrets will fail", "error", err)
	}
	return command.New(command.Config{
		Secrets: x.secrets,
		WorkDir: env.WorkDir, Runner: x.runner, Source: x.source, JobUser: x.jobUser, PassEnv: x.cfg.PassEnv,
		Grace: x.cfg.Grace, Hide: []string{env.StateDir}, Log: env.Logger.Named("command"),
	})
}

// gitEnvironment is what of the worker's environment git needs to reach a
// repository: proxies, and the agent that holds the worker's ssh keys.
func gitEnvironment() []string {
	var env []string
	for _, name := range []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "SSH_AUTH_SOCK"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// maintain keeps the clone cache in order until ctx ends.
func (x *engines) maintain(ctx context.Context) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := x.source.Maintain(ctx); err != nil && ctx.Err() == nil {
				x.log.Warn("git clones could not be packed or pruned", "error", err)
			}
		}
	}
}

// close ends the engine and the supervisors.
func (x *engines) close() {
	x.obuilder.close()
	if x.runner != nil {
		x.runner.Close()
	}
	for _, area := range []*secretdir.Area{x.secrets, x.docker.secrets} {
		if area != nil {
			area.Close()
		}
	}
}
