package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

// TestGatesHold runs random histories of jobs with concurrency keys, priorities and
// limits: no limit is ever passed, and no job waits that could start.
func TestGatesHold(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newCrowd(t, seed).run() })
	}
}

type crowd struct {
	t      *testing.T
	random *rand.Rand
	pool   *Pool
	policy Policy
	own    map[string]int
	jobs   map[fsm.JobID]Job
	onWay  []Grant
	runs   []fsm.LeaseID // numbered as the jobs
	held   []fsm.LeaseID
	nextID fsm.JobID
}

func newCrowd(t *testing.T, seed uint64) *crowd {
	g := &crowd{t: t, random: rand.New(rand.NewPCG(seed, 3)), jobs: map[fsm.JobID]Job{}, own: map[string]int{}}
	hints := fakeHints{"h0": {"w0"}, "h1": {"w1", "w2"}}
	g.pool = New(Policy{}, fixed{hints, Costs{Cached: 10, Uncached: 30}})
	g.pool.Resume()
	for i := range 3 {
		g.pool.Join(Worker{Name: fmt.Sprint("w", i), Slots: uint32(1 + g.random.IntN(4)), Leashes: i > 0})
	}
	return g
}

func (g *crowd) run() {
	for range 300 {
		g.step()
		g.onWay = append(g.onWay, g.pool.Take()...)
		check(g.t, g.pool)
		g.limits()
		g.idleness()
		if g.t.Failed() {
			return
		}
	}
	g.drain()
}

func (g *crowd) step() {
	switch n := g.random.IntN(20); {
	case n < 7:
		g.queue()
	case n < 12:
		g.settle()
	case n < 16:
		g.end()
	case n < 17 && len(g.held) > 0:
		i := g.random.IntN(len(g.held))
		g.pool.Free(g.held[i])
		g.held = append(g.held[:i:i], g.held[i+1:]...)
	case n < 18 && g.random.IntN(2) == 0:
		g.pool.SetInactive(fmt.Sprint("w", g.random.IntN(3)), []string{"", "", "rests"}[g.random.IntN(3)])
	case n < 18:
		g.pool.Remove(fsm.JobID(g.random.Uint64N(uint64(g.nextID) + 1)))
	case n < 19:
		g.policy = Policy{MaxRunning: g.random.IntN(3) * 3, MaxRunningPerClient: g.random.IntN(3) * 2}
		g.pool.SetPolicy(g.policy)
	default:
		client := fmt.Sprint("c", g.random.IntN(3))
		g.own[client] = g.random.IntN(3)
		g.pool.SetClientLimit(client, g.own[client])
	}
}

func (g *crowd) queue() {
	g.nextID++
	j := Job{
		ID: g.nextID, Urgent: g.random.IntN(6) == 0, FairStart: g.random.Int64N(50), Client: fmt.Sprint("c", g.random.IntN(3)),
		Priority: uint32(max(g.random.IntN(6)-3, 0)), Need: Need{Slots: uint32(1 + g.random.IntN(2))},
	}
	if n := g.random.IntN(5); n < 2 {
		j.Concurrency, j.AtMost, j.Need.Leash = fmt.Sprint("k", n), uint32(1+n), true
	}
	if g.random.IntN(6) == 0 {
		j.Need.Avoid = []string{fmt.Sprint("w", g.random.IntN(3))}
	}
	if n := g.random.IntN(4); n < 2 {
		j.Hint = fmt.Sprint("h", n)
	}
	g.jobs[j.ID] = j
	g.pool.Queue(j)
}

func (g *crowd) settle() {
	if len(g.onWay) == 0 {
		return
	}
	i := g.random.IntN(len(g.onWay))
	grant := g.onWay[i]
	g.onWay = append(g.onWay[:i:i], g.onWay[i+1:]...)
	if g.random.IntN(6) == 0 {
		g.pool.Settle(grant.Job, true)
		return
	}
	j := g.jobs[grant.Job]
	g.pool.Hold(Lease{
		ID: fsm.LeaseID(j.ID), Job: j.ID, Worker: grant.Worker, Slots: j.Need.Slots, Client: j.Client,
		Key: j.Concurrency, AtMost: j.AtMost,
	})
	g.pool.Settle(j.ID, false)
	g.runs = append(g.runs, fsm.LeaseID(j.ID))
}

func (g *crowd) end() {
	if len(g.runs) == 0 {
		return
	}
	i := g.random.IntN(len(g.runs))
	id := g.runs[i]
	g.runs = append(g.runs[:i:i], g.runs[i+1:]...)
	if j := g.jobs[fsm.JobID(id)]; j.Concurrency != "" && g.random.IntN(3) == 0 {
		g.pool.Keep(id, j.Concurrency, j.AtMost)
		g.held = append(g.held, id)
	}
	g.pool.Release(id)
}

// counts is what runs, or is about to, by pool, client and key.
func (g *crowd) counts() (all int, clients, keys map[string]int) {
	clients, keys = map[string]int{}, map[string]int{}
	count := func(id fsm.JobID) {
		j := g.jobs[id]
		all++
		clients[j.Client]++
		keys[j.Concurrency]++
	}
	for _, grant := range g.onWay {
		count(grant.Job)
	}
	for _, id := range g.runs {
		count(fsm.JobID(id))
	}
	for _, id := range g.held {
		keys[g.jobs[fsm.JobID(id)].Concurrency]++
	}
	return all, clients, keys
}

// limits checks that the pool's own counts are right, and that keys, whose limits
// never change, are never over theirs.
func (g *crowd) limits() {
	all, clients, keys := g.counts()
	if got := g.pool.all.used(); got != all {
		g.t.Errorf("%d jobs run, counted as %d", all, got)
	}
	for name, gate := range g.pool.clients {
		if gate.used() != clients[name] {
			g.t.Errorf("%d jobs of %s run, counted as %d", clients[name], name, gate.used())
		}
	}
	for key, n := range keys {
		if most := map[string]int{"k0": 1, "k1": 2}[key]; key != "" && n > most {
			g.t.Errorf("%d jobs take key %s, at most %d may", n, key, most)
		}
	}
}

// idleness checks that no worker idles while a job could start there.
func (g *crowd) idleness() {
	all, clients, keys := g.counts()
	for _, j := range g.pool.jobs {
		most := g.policy.MaxRunningPerClient
		if own := g.own[j.client]; own > 0 {
			most = own
		}
		switch {
		case j.place == granted, j.place == claiming, j.place == reserved && !j.worker.idle,
			g.policy.MaxRunning > 0 && all >= g.policy.MaxRunning, most > 0 && clients[j.client] >= most,
			j.key != "" && keys[j.key] >= j.most:
			continue
		}
		for _, w := range g.pool.workers {
			if w.idle && w.free() >= j.slots() && j.class.fits(w) && j.place != gated {
				g.t.Errorf("job %d waits (%d) and %s has %d slots free", j.id, j.place, w.name, w.free())
			}
		}
		if j.place == gated {
			g.mayBeGated(j)
		}
	}
}

// mayBeGated checks that a job which no limit keeps waits only for others of its
// client and class.
func (g *crowd) mayBeGated(j *job) {
	for _, l := range j.lanes {
		if l == nil {
			continue
		}
		if _, shut := l.shut.Get(j); shut && l.open.Len() < l.room() {
			g.t.Errorf("job %d is shut out and there is room", j.id)
		}
	}
}

// drain lets everything run to its end: nothing may be left behind.
func (g *crowd) drain() {
	for i := range 3 {
		g.pool.SetInactive(fmt.Sprint("w", i), "")
	}
	g.onWay = append(g.onWay, g.pool.Take()...)
	for len(g.onWay)+len(g.runs)+len(g.held) > 0 {
		for len(g.held) > 0 {
			g.pool.Free(g.held[0])
			g.held = g.held[1:]
		}
		g.settle()
		g.end()
		g.onWay = append(g.onWay, g.pool.Take()...)
	}
	for _, j := range g.pool.jobs {
		if j.key == "" || len(g.pool.workers) > 1 {
			for _, w := range g.pool.workers {
				if j.class.fits(w) {
					g.t.Errorf("job %d was left behind (%d)", j.id, j.place)
				}
			}
		}
	}
	if len(g.pool.jobs) == 0 && len(g.pool.lanes)+len(g.pool.keys)+len(g.pool.clients) > 0 {
		g.t.Errorf("%d lanes, %d keys and %d clients are left", len(g.pool.lanes), len(g.pool.keys), len(g.pool.clients))
	}
}

// A hundred thousand jobs with one full key are not looked past by any grant.
func BenchmarkFullKey(b *testing.B) {
	for _, shut := range []int{0, 100_000} {
		b.Run(fmt.Sprint(shut), func(b *testing.B) {
			p := New(Policy{}, fixed{fakeHints{}, Costs{Cached: 10, Uncached: 600}})
			p.Resume()
			for id := range fsm.JobID(shut) {
				p.Queue(Job{ID: 1_000_000 + id, Client: "c", Need: Need{Slots: 1, Leash: true}, Concurrency: "k", AtMost: 1})
			}
			p.Join(Worker{Name: "w", Slots: 2, Leashes: true})
			p.Take()
			b.ResetTimer()
			for i := range b.N {
				id := fsm.JobID(i + 1)
				p.Queue(Job{ID: id, Client: "d", Need: Need{Slots: 1}})
				if len(p.Take()) != 1 {
					b.Fatal("not granted")
				}
				p.Settle(id, false)
			}
		})
	}
}
