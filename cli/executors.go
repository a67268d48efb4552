package cli

import (
	"github.com/weirbuild/weir/workerd"
	"github.com/weirbuild/weir/workerd/executor"
)

// executors builds what the worker runs jobs with.
func executors(cfg workerd.Config) workerd.Build {
	return func(env workerd.Env) (map[string]executor.Executor, error) {
		return map[string]executor.Executor{}, nil
	}
}
