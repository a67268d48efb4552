package workerd

import (
	"maps"
	"slices"

	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/health"
)

// checker tries the executors that can be tried.
func (w *Worker) checker(executors map[string]executor.Executor) *health.Checker {
	c := health.Config{Every: w.cfg.HealthCheck, Changed: w.statusChanged, Log: w.log.Named("health"), Registerer: w.reg}
	for _, kind := range slices.Sorted(maps.Keys(executors)) {
		if e, ok := executors[kind].(executor.Checked); ok {
			c.Kinds = append(c.Kinds, health.Kind{Name: kind, Build: e.Healthcheck})
		}
	}
	return health.New(c)
}
