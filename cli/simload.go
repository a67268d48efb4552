package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/scheduler/sim"
)

// loadOptions choose what a workload is tried with.
type loadOptions struct {
	file     string
	policies []string
	seeds    int
	chart    string
}

// parse reads the policies: the fixed and the default one when none is given.
func (o loadOptions) parse() ([]sim.Policy, error) {
	switch len(o.policies) {
	case 0:
		return []sim.Policy{sim.Fixed, sim.Default}, nil
	case 1, 2:
	default:
		return nil, usageError("give --policy once or twice")
	}
	var parsed []sim.Policy
	for _, text := range o.policies {
		p, err := sim.ParsePolicy(text)
		if err != nil {
			return nil, usageError("%w", err)
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

func runWorkload(e *env, o loadOptions) error {
	policies, err := o.parse()
	if err != nil {
		return err
	}
	if o.chart != "" {
		if _, err := chartFormat(o.chart); err != nil {
			return err
		}
	}
	var w *sim.Workload
	err = e.withInput(o.file, func(r io.Reader) (err error) {
		w, err = sim.ReadWorkload(r)
		return err
	})
	if err != nil {
		return usageError("%w", err)
	}
	if o.seeds > 0 && o.seeds < len(w.Seeds) {
		w.Seeds = w.Seeds[:o.seeds]
	}
	runs, err := measure(w, policies)
	if err != nil {
		return err
	}
	if o.chart != "" {
		var first []*sim.Measured
		for _, of := range runs {
			first = append(first, of[0])
		}
		if err := writeChart(o.chart, w.Seeds[0], policies, first); err != nil {
			return err
		}
	}
	return ui.Text{W: e.stdout, Now: e.now()}.Print(nil, func(t *ui.Table) { showRuns(t, w, policies, runs) })
}

// measure runs every seed under every policy, on all cores: [policy][seed].
func measure(w *sim.Workload, policies []sim.Policy) ([][]*sim.Measured, error) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	runs := make([][]*sim.Measured, len(policies))
	for i, p := range policies {
		runs[i] = make([]*sim.Measured, len(w.Seeds))
		for n, seed := range w.Seeds {
			g.Go(func() (err error) {
				runs[i][n], err = sim.RunWorkload(w, p, seed)
				return err
			})
		}
	}
	return runs, g.Wait()
}

// figure is one row: how a run's value is found and shown.
type figure struct {
	name  string
	value func(*sim.Measured) float64
	show  func(float64) string
}

func figures(clients []string) []figure {
	span := func(v float64) string { return ui.Short(time.Duration(v)) }
	percent := func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
	rows := []figure{
		{"jobs", func(m *sim.Measured) float64 { return float64(m.All.Jobs) }, func(v float64) string { return fmt.Sprintf("%.0f", v) }},
		{"makespan", func(m *sim.Measured) float64 { return float64(m.Makespan) }, span},
		{"utilisation", func(m *sim.Measured) float64 { return m.Utilisation }, percent},
		{"machine time", func(m *sim.Measured) float64 { return float64(m.MachineTime) }, span},
		{"cache hits", func(m *sim.Measured) float64 { return float64(m.Hits) / float64(max(m.Hinted, 1)) }, percent},
		{"fairness", func(m *sim.Measured) float64 { return m.Fairness }, func(v float64) string { return fmt.Sprintf("%.3f", v) }},
	}
	waits := func(who string, of func(*sim.Measured) *sim.ClientFigures) {
		rows = append(rows,
			figure{who + " mean wait", func(m *sim.Measured) float64 { return float64(of(m).Mean) }, span},
			figure{who + " p50", func(m *sim.Measured) float64 { return float64(of(m).P50) }, span},
			figure{who + " p95", func(m *sim.Measured) float64 { return float64(of(m).P95) }, span},
			figure{who + " p99", func(m *sim.Measured) float64 { return float64(of(m).P99) }, span})
	}
	waits("all", func(m *sim.Measured) *sim.ClientFigures { return &m.All })
	for _, name := range clients {
		waits(ui.Clip(name, 16), func(m *sim.Measured) *sim.ClientFigures { return m.Clients[name] })
	}
	return rows
}

// showRuns prints medians over the seeds, and the median change from the first
// policy to the second, seed by seed.
func showRuns(t *ui.Table, w *sim.Workload, policies []sim.Policy, runs [][]*sim.Measured) {
	if w.About != "" {
		t.Line("%s", w.About)
	}
	t.Line("%d seeds; medians over them, and of the change with each", len(w.Seeds))
	head := []any{"FIGURE"}
	for _, p := range policies {
		head = append(head, p)
	}
	if len(policies) == 2 {
		head = append(head, "CHANGE")
	}
	t.Row(head...)
	for _, f := range figures(slices.Sorted(maps.Keys(runs[0][0].Clients))) {
		cells := []any{f.name}
		for i := range policies {
			cells = append(cells, f.show(medianOf(runs[i], f.value)))
		}
		if len(policies) == 2 {
			cells = append(cells, changeOf(runs, f.value))
		}
		t.Row(cells...)
	}
}

func medianOf(runs []*sim.Measured, value func(*sim.Measured) float64) float64 {
	values := make([]float64, len(runs))
	for i, m := range runs {
		values[i] = value(m)
	}
	return median(values)
}

// changeOf is the median change; "-" where there is nothing to compare with.
func changeOf(runs [][]*sim.Measured, value func(*sim.Measured) float64) string {
	var changes []float64
	for n := range runs[0] {
		if was := value(runs[0][n]); was != 0 {
			changes = append(changes, value(runs[1][n])/was-1)
		}
	}
	if len(changes) == 0 {
		return "-"
	}
	return fmt.Sprintf("%+.2f %%", 100*median(changes))
}

func median(values []float64) float64 {
	slices.SortFunc(values, cmp.Compare[float64])
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
