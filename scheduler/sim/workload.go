package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// Workload describes generated load.
type Workload struct {
	About       string                `json:"about"`
	Lasts       Duration              `json:"lasts"` // arrivals end then; what waits is still built
	Seeds       []uint64              `json:"seeds"`
	CachedCost  Duration              `json:"cached_cost"`   // the pool's fixed estimates
	Uncached    Duration              `json:"uncached_cost"` //
	Workers     []WorkerGroup         `json:"workers"`
	Populations map[string]Population `json:"populations"`
	Clients     []LoadClient          `json:"clients"`
}

// WorkerGroup is a number of equal workers.
type WorkerGroup struct {
	Count int    `json:"count"`
	Slots uint32 `json:"slots"`
}

// Population is things that are built again and again; each of its items has a
// cache hint for each variant.
type Population struct {
	Items    int `json:"items"`
	Variants int `json:"variants"`
	// Moves is how often all of its hints change at once; 0: never.
	Moves Duration `json:"moves"`
}

// LoadClient submits what its streams make.
type LoadClient struct {
	Name    string   `json:"name"`
	Rate    float64  `json:"rate"`
	Streams []Stream `json:"streams"`
}

// Stream is arrivals of one kind.
type Stream struct {
	Every  Duration `json:"every"`  // the time from one arrival to the next
	Random bool     `json:"random"` // that time is the mean of a Poisson process
	After  Duration `json:"after"`  // the first arrival is so much later

	Min int `json:"min"` // items that come at once: a number from Min to Max
	Max int `json:"max"` // both 0: one

	Population string  `json:"population"` // what the items are of; empty: jobs without a hint
	Skew       float64 `json:"skew"`       // over 1: some items come oftener, by Zipf's law

	Urgent   bool     `json:"urgent"`
	Slots    uint32   `json:"slots"`
	Cached   Duration `json:"cached"`
	Uncached Duration `json:"uncached"`
	// Spread makes a build take from 1-Spread to 1+Spread times as long, by item.
	Spread float64 `json:"spread"`
}

// Duration is a time in Go's syntax, as "1h30m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := parseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// ReadWorkload reads and checks a workload.
func ReadWorkload(r io.Reader) (*Workload, error) {
	w := &Workload{CachedCost: Duration(10 * time.Second), Uncached: Duration(10 * time.Minute)}
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(w); err != nil {
		return nil, fmt.Errorf("read the workload: %w", err)
	}
	return w, w.check()
}

func (w *Workload) check() error {
	switch {
	case w.Lasts <= 0:
		return fmt.Errorf("the workload does not say how long it lasts, as \"lasts\": \"24h\"")
	case len(w.Seeds) == 0:
		return fmt.Errorf("the workload has no seeds, as \"seeds\": [1, 2, 3]")
	case len(w.Workers) == 0:
		return fmt.Errorf("the workload has no workers")
	case len(w.Clients) == 0:
		return fmt.Errorf("the workload has no clients")
	}
	for _, g := range w.Workers {
		if g.Count < 1 || g.Slots < 1 {
			return fmt.Errorf("a group of workers has a count of %d and %d slots; both are at least 1", g.Count, g.Slots)
		}
	}
	for name, p := range w.Populations {
		if p.Items < 1 || p.Variants < 1 {
			return fmt.Errorf("population %q has %d items of %d variants; both are at least 1", name, p.Items, p.Variants)
		}
	}
	for _, c := range w.Clients {
		for i, s := range c.Streams {
			if err := w.checkStream(s); err != nil {
				return fmt.Errorf("stream %d of client %q: %w", i+1, c.Name, err)
			}
		}
	}
	return nil
}

func (w *Workload) checkStream(s Stream) error {
	p, ok := w.Populations[s.Population]
	switch {
	case s.Every <= 0:
		return fmt.Errorf("it does not say how often it comes, as \"every\": \"1m\"")
	case s.Uncached <= 0:
		return fmt.Errorf("it does not say how long a build takes, as \"uncached\": \"15m\"")
	case s.Population != "" && !ok:
		return fmt.Errorf("there is no population %q", s.Population)
	case s.Min < 0 || s.Max < s.Min:
		return fmt.Errorf("from %d to %d items is no range", s.Min, s.Max)
	case ok && s.Max > p.Items:
		return fmt.Errorf("up to %d items of a population of %d", s.Max, p.Items)
	case s.Spread < 0 || s.Spread >= 1:
		return fmt.Errorf("a spread of %v: from 0 to less than 1", s.Spread)
	case s.Skew != 0 && s.Skew <= 1:
		return fmt.Errorf("a skew of %v: over 1, or 0 for none", s.Skew)
	}
	return nil
}

// generator makes the arrivals of one stream. It depends on nothing but the seed,
// so that every policy meets the same load.
type generator struct {
	cluster *Cluster
	client  string
	stream  Stream
	people  Population
	random  *rand.Rand
	zipf    *rand.Zipf
	until   time.Duration
}

// start puts every stream's first arrival on the agenda.
func (w *Workload) start(c *Cluster, seed uint64) error {
	no := uint64(0)
	for _, client := range w.Clients {
		if err := c.SetRate(client.Name, client.Rate); err != nil {
			return fmt.Errorf("client %q: %w", client.Name, err)
		}
		for _, s := range client.Streams {
			no++
			g := &generator{
				cluster: c, client: client.Name, stream: s, people: w.Populations[s.Population],
				random: rand.New(rand.NewPCG(seed, no)), until: time.Duration(w.Lasts),
			}
			if s.Skew > 1 {
				g.zipf = rand.NewZipf(g.random, s.Skew, 1, uint64(g.people.Items-1))
			}
			first := time.Duration(s.After)
			if s.Random {
				first += g.pause()
			}
			c.At(first, g.arrive)
		}
	}
	return nil
}

func (g *generator) pause() time.Duration {
	if !g.stream.Random {
		return time.Duration(g.stream.Every)
	}
	return time.Duration(g.random.ExpFloat64() * float64(g.stream.Every)).Truncate(time.Millisecond)
}

// arrive submits one arrival's jobs, and puts the next on the agenda.
func (g *generator) arrive() error {
	now := g.cluster.Now()
	if now >= g.until {
		return nil
	}
	g.cluster.At(now+g.pause(), g.arrive)
	for _, item := range g.items() {
		for variant := range max(g.people.Variants, 1) {
			if _, err := g.cluster.Submit(g.job(now, item, variant)); err != nil {
				return err
			}
		}
	}
	return nil
}

// items chooses what comes, nothing twice.
func (g *generator) items() []int {
	n := 1
	if g.stream.Max > 0 {
		n = g.stream.Min + g.random.IntN(g.stream.Max-g.stream.Min+1)
	}
	if g.people.Items == 0 {
		return make([]int, n)
	}
	if g.zipf != nil {
		return []int{int(g.zipf.Uint64())}
	}
	return g.random.Perm(g.people.Items)[:n]
}

func (g *generator) job(now time.Duration, item, variant int) Submission {
	s := g.stream
	job := Submission{
		Client: g.client, Urgent: s.Urgent, Slots: max(s.Slots, 1),
		Takes: Takes{Cached: g.scaled(s.Cached, item), Uncached: g.scaled(s.Uncached, item), Joins: true},
	}
	if s.Population != "" {
		generation := 0
		if g.people.Moves > 0 {
			generation = int(now / time.Duration(g.people.Moves))
		}
		job.Hint = fmt.Sprintf("%s/%d/%d/%d", s.Population, generation, item, variant)
	}
	return job
}

// scaled is a build's time for one item: always the same.
func (g *generator) scaled(d Duration, item int) time.Duration {
	t := time.Duration(d)
	if g.stream.Spread > 0 {
		const steps = 1009 // a prime, so that neighbours differ
		part := float64(item*613%steps)/steps*2 - 1
		t += time.Duration(float64(t) * g.stream.Spread * part)
	}
	return t.Truncate(time.Millisecond)
}

// RunWorkload runs a workload under a policy, with one seed.
func RunWorkload(w *Workload, p Policy, seed uint64) (*Measured, error) {
	m := newMeasured(w)
	config := roomy()
	config.CachedCostMs, config.UncachedCostMs = time.Duration(w.CachedCost).Milliseconds(), time.Duration(w.Uncached).Milliseconds()
	p.apply(config)
	c, err := New(config, Observer{Started: m.started, Ended: m.ended})
	if err != nil {
		return nil, err
	}
	n := 0
	for _, g := range w.Workers {
		for range g.Count {
			n++
			if err := c.Connect(fmt.Sprint("w", n), g.Slots, nil); err != nil {
				return nil, err
			}
		}
	}
	if err := w.start(c, seed); err != nil {
		return nil, err
	}
	for !c.Idle() {
		if err := c.Advance(step); err != nil {
			return nil, err
		}
		m.sample(c)
	}
	if left := c.state.LastJob() - fsm.JobID(m.jobs); left > 0 {
		return nil, fmt.Errorf("%d jobs of the workload can never run: no worker has enough slots", left)
	}
	m.done()
	return m, nil
}
