package sim

import (
	"slices"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// step is how often the queue and the busy slots are looked at.
const step = 10 * time.Minute

// Measured is what a workload gave.
type Measured struct {
	Clients map[string]*ClientFigures
	All     ClientFigures
	Hits    int // builds that had their hint's cache, of
	Hinted  int // all those with a hint

	MachineTime time.Duration // slots times how long they were taken
	Makespan    time.Duration
	Utilisation float64 // of all slots until arrivals end
	Fairness    float64 // Jain's index of how much clients are slowed: 1 is all alike
	Samples     []Sample

	jobs  int
	slots float64
	until int64
	inAll time.Duration // machine time until arrivals end
}

// Sample is one look at the pool.
type Sample struct {
	At     time.Duration
	Queued int
	Busy   float64 // part of all slots
}

// ClientFigures are the waits of one client's jobs.
type ClientFigures struct {
	Jobs                int
	Mean, P50, P95, P99 time.Duration

	waits []int64
	speed float64 // sum of each job's running time over its whole time
}

func newMeasured(w *Workload) *Measured {
	m := &Measured{Clients: map[string]*ClientFigures{}, until: origin + time.Duration(w.Lasts).Milliseconds()}
	for _, c := range w.Clients {
		m.Clients[c.Name] = &ClientFigures{}
	}
	for _, g := range w.Workers {
		m.slots += float64(g.Count) * float64(g.Slots)
	}
	return m
}

func (m *Measured) started(j *fsm.Job, a *fsm.Attempt) {
	if j.Hint != "" {
		m.Hinted++
		if a.Cached {
			m.Hits++
		}
	}
}

func (m *Measured) ended(j *fsm.Job) {
	a := j.Last()
	wait, ran := a.Started-j.Submitted, max(a.Ended-a.Started, 1)
	m.jobs++
	for _, f := range []*ClientFigures{m.Clients[j.Client], &m.All} {
		f.waits = append(f.waits, wait)
		f.speed += float64(ran) / float64(wait+ran)
	}
	m.MachineTime += time.Duration(int64(j.Slots)*ran) * time.Millisecond
	m.inAll += time.Duration(int64(j.Slots)*max(min(a.Ended, m.until)-a.Started, 0)) * time.Millisecond
	m.Makespan = time.Duration(a.Ended-origin) * time.Millisecond
}

func (m *Measured) sample(c *Cluster) {
	pool, _ := c.state.Pool(Pool)
	busy := 0
	for w := range c.state.Workers(Pool) {
		busy += int(w.Used)
	}
	m.Samples = append(m.Samples, Sample{c.Now(), pool.Queued, float64(busy) / m.slots})
}

// done works out what only the whole can tell.
func (m *Measured) done() {
	m.Utilisation = float64(m.inAll.Milliseconds()) / (m.slots * float64(m.until-origin))
	sum, squares, n := 0.0, 0.0, 0.0
	for _, f := range m.Clients {
		if f.summarise(); f.Jobs > 0 {
			speed := f.speed / float64(f.Jobs)
			sum, squares, n = sum+speed, squares+speed*speed, n+1
		}
	}
	if m.All.summarise(); n > 0 {
		m.Fairness = sum * sum / (n * squares)
	}
}

func (f *ClientFigures) summarise() {
	if f.Jobs = len(f.waits); f.Jobs == 0 {
		return
	}
	slices.Sort(f.waits)
	total := int64(0)
	for _, w := range f.waits {
		total += w
	}
	at := func(p float64) time.Duration {
		return time.Duration(f.waits[int(p*float64(f.Jobs-1))]) * time.Millisecond
	}
	f.Mean = time.Duration(total/int64(f.Jobs)) * time.Millisecond
	f.P50, f.P95, f.P99 = at(0.5), at(0.95), at(0.99)
	f.waits = nil
}
