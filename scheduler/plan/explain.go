package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// Reason says why a job of the backlog waits.
type Reason struct {
	Why     string   // one line
	Details []string // what else is worth knowing
}

// Explain says why a queued job waits. ahead is how many jobs are before it in
// the backlog.
func (p *Pool) Explain(id fsm.JobID, ahead int) Reason {
	j, ok := p.jobs[id]
	if !ok {
		return Reason{Why: "it is about to be planned"}
	}
	switch j.place {
	case granted:
		return Reason{Why: fmt.Sprintf("worker %q is about to get it", j.worker.name)}
	case reserved:
		return p.explainReserved(j)
	case gated:
		return p.explainGate(j)
	case claiming:
		return Reason{Why: fmt.Sprintf("it needs %s of one worker: %q starts nothing behind it until it has them, and has %d free now",
			slotCount(j.slots()), j.worker.name, max(j.worker.free(), 0))}
	}
	fit, why := p.fitting(j.class)
	if why != "" {
		return Reason{Why: why, Details: p.absences()}
	}
	if j.passed != 0 {
		return p.explainPassed(j)
	}
	return p.explainBusy(j, fit, ahead)
}

func (p *Pool) explainReserved(j *job) Reason {
	before := 0
	j.worker.reserved.Scan(func(o *job) bool {
		before++
		return o != j
	})
	why := fmt.Sprintf("reserved for worker %q, which has its cache hint %q", j.worker.name, j.hint)
	return Reason{Why: why, Details: []string{
		fmt.Sprintf("%s before it on that worker's own queue", jobCount(before-1)),
		fmt.Sprintf("that worker has %s, %d free", slotCount(j.worker.slots), max(j.worker.free(), 0)),
	}}
}

// explainGate says which limit on running jobs keeps a job back.
func (p *Pool) explainGate(j *job) Reason {
	for s := stages - 1; s >= 0; s-- {
		l := j.lanes[s]
		if l == nil {
			continue
		}
		for _, g := range l.gates {
			if g.room() == 0 {
				return Reason{Why: p.explainShut(j, s, g)}
			}
		}
		if s == keyStage {
			return Reason{Why: fmt.Sprintf("other jobs with its concurrency key %q go first", j.key)}
		}
		return Reason{Why: fmt.Sprintf("other jobs of client %s go first", j.client)}
	}
	return Reason{Why: "it is about to be planned"}
}

func (p *Pool) explainShut(j *job, stage int, g *gate) string {
	switch {
	case stage == keyStage:
		return fmt.Sprintf("its concurrency key %q lets %s run at once, and %s it", j.key, jobCount(g.most), takes(g.used()))
	case g == p.all:
		return fmt.Sprintf("its pool lets %s run at once, and so many run (max_running)", jobCount(g.most))
	}
	return fmt.Sprintf("client %s may run %s at once in this pool, and runs so many", j.client, jobCount(g.most))
}

func takes(n int) string {
	if n == 1 {
		return "1 takes"
	}
	return fmt.Sprintf("%d take", n)
}

// fitting returns the active workers that can run the class's jobs, or why there
// are none.
func (p *Pool) fitting(c *class) (fit []*worker, why string) {
	connected, takers := 0, 0
	var willing, able []*worker
	for _, w := range p.workers {
		if !w.connected {
			continue
		}
		connected++
		if !c.isTaken(w) {
			continue
		}
		takers++
		if !c.canOpen(w) {
			continue
		}
		willing = append(willing, w)
		if !c.isLeashed(w) {
			continue
		}
		if c.hasLabels(w) {
			able = append(able, w)
		}
	}
	switch {
	case connected == 0:
		return nil, "no worker of the pool is connected"
	case takers == 0:
		return nil, fmt.Sprintf("no connected worker of the pool takes %s jobs", c.kind)
	case c.leash && len(able) == 0 && !slices.ContainsFunc(willing, c.isLeashed):
		return nil, "no connected worker of the pool can run jobs with a concurrency key: upgrade the workers"
	case len(willing) == 0:
		return nil, fmt.Sprintf("no connected worker of the pool holds key %s, to which its secrets are sealed", c.sealed)
	case len(able) == 0:
		return nil, p.explainLabels(c, willing)
	}
	largest := slices.MaxFunc(able, func(a, b *worker) int { return a.slots - b.slots })
	if largest.slots < c.slots {
		return nil, fmt.Sprintf("it needs %s of one worker, and the largest that fits has %d", slotCount(c.slots), largest.slots)
	}
	able = slices.DeleteFunc(able, func(w *worker) bool { return w.slots < c.slots })
	for _, w := range able {
		if w.active() {
			fit = append(fit, w)
		}
	}
	if len(fit) > 0 {
		return fit, ""
	}
	if len(able) == 1 {
		return nil, fmt.Sprintf("the only worker that fits, %q, %s", able[0].name, able[0].inactive)
	}
	one := slices.MinFunc(able, func(a, b *worker) int { return strings.Compare(a.name, b.name) })
	return nil, fmt.Sprintf("none of the %d workers that fit takes jobs now: %q %s", len(able), one.name, one.inactive)
}

// explainLabels says which labels the workers that take such jobs lack.
func (p *Pool) explainLabels(c *class, willing []*worker) string {
	for _, l := range c.labels {
		if !slices.ContainsFunc(willing, func(w *worker) bool { return slices.Contains(w.labels, l) }) {
			return fmt.Sprintf("no connected worker of the pool has label %s=%s", l.Name, l.Value)
		}
	}
	names := make([]string, len(c.labels))
	for i, l := range c.labels {
		names[i] = l.Name + "=" + l.Value
	}
	return fmt.Sprintf("no connected worker of the pool has all of its labels (%s)", strings.Join(names, ", "))
}

func (p *Pool) explainBusy(j *job, fit []*worker, ahead int) Reason {
	slots, busy := 0, 0
	for _, w := range fit {
		slots += w.slots
		busy += min(w.slots-w.free(), w.slots)
	}
	why := fmt.Sprintf("%s ahead, and %d of %s taken on the %s that can run it", jobCount(ahead), busy, slotCount(slots), workerCount(len(fit)))
	return Reason{Why: why, Details: p.absences()}
}

// explainPassed tells of a job that smaller ones go past.
func (p *Pool) explainPassed(j *job) Reason {
	left := max(p.policy.WideAfter-(p.now-j.passed), 0)
	return Reason{
		Why:     fmt.Sprintf("it needs %s of one worker, and none that fits has so many free", slotCount(j.slots())),
		Details: []string{fmt.Sprintf("smaller jobs behind it may start for another %v, then a worker gathers slots for it (wide-after)", time.Duration(left)*time.Millisecond)},
	}
}

// absences lists the connected workers that take no jobs, by name.
func (p *Pool) absences() []string {
	var lines []string
	for _, w := range p.workers {
		if w.connected && w.inactive != "" {
			lines = append(lines, fmt.Sprintf("worker %q %s", w.name, w.inactive))
		}
	}
	slices.Sort(lines)
	return lines
}

func slotCount(n int) string { return count(n, "slot", "slots") }

func jobCount(n int) string { return count(n, "job", "jobs") }

func workerCount(n int) string { return count(n, "worker", "workers") }

func count(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + many
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}
