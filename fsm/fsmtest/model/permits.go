package model

import (
	"fmt"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// permits counts the jobs with a concurrency key, and what they agree on.
func (m *Model) permits(pool, key string) (most uint32, waiting, runs, held int) {
	for _, j := range m.those(func(j *fsm.Job) bool { return j.Pool == pool && j.Concurrency == key }) {
		for _, a := range j.Attempts {
			if a.Held {
				held++
				most = j.AtMost
			}
		}
		switch {
		case j.Waiting():
			waiting++
		case j.State == running:
			runs++
		default:
			continue
		}
		most = j.AtMost
	}
	return most, waiting, runs, held
}

// mayStart says whether no limit keeps a job from running beside those that do.
func (m *Model) mayStart(j *fsm.Job, leash int64) bool {
	limits := m.limits(j.Pool)
	if limits.MaxRunning > 0 && m.count(j.Pool, "", running) >= limits.MaxRunning {
		return false
	}
	most := limits.MaxRunningPerClient
	if own := m.maxRunning[j.Client]; own > 0 {
		most = own
	}
	if most > 0 && m.count(j.Pool, j.Client, running) >= most {
		return false
	}
	if j.Concurrency == "" {
		return true
	}
	_, _, runs, held := m.permits(j.Pool, j.Concurrency)
	return leash >= fsm.MinLeaseTTL && runs+held < int(j.AtMost) && !(len(j.Attempts) == fsm.MaxAttempts && j.Attempts[0].Held)
}

func (m *Model) freePermit(c *pb.FreePermit) fsm.Result {
	j, a := m.attempt(c.GetLease())
	if a == nil {
		return refuse(fsm.NotFound)
	}
	r := fsm.Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: a.Worker, Repeat: !a.Held}
	if a.Held {
		a.Held = false
		m.logEvent(fsm.PermitFreed, j, a)
	}
	return r
}

// trade is what a grant in another job's place does to the two.
func (m *Model) trade(j *fsm.Job, with uint64) {
	o, kind := m.job(with)
	if kind != "" || o.State != queued || o.Pool != j.Pool || o.Client != j.Client || o.Urgent != j.Urgent || o.Priority >= j.Priority {
		return
	}
	if o.FairStart > j.FairStart || o.FairStart == j.FairStart && o.ID > j.ID {
		return
	}
	o.FairStart, j.FairStart = j.FairStart, o.FairStart
	m.emit(fsm.Event{Kind: fsm.JobMoved, Job: o.ID, Pool: o.Pool, Client: o.Client})
}

func (m *Model) setLimit(c *pb.SetClientLimit) fsm.Result {
	_, ok := m.clients[c.GetName()]
	switch {
	case !ok:
		return refuse(fsm.NotFound)
	case c.GetMaxRunning() < 0:
		return refuse(fsm.Invalid)
	case m.maxRunning[c.GetName()] == int(c.GetMaxRunning()):
		return fsm.Result{Repeat: true}
	}
	m.maxRunning[c.GetName()] = int(c.GetMaxRunning())
	m.emit(fsm.Event{Kind: fsm.ClientChanged, Client: c.GetName()})
	return fsm.Result{}
}

// hourOf are the times of the urgent jobs that count now: with sliding those of the
// last hour, by whole minutes; without, those of the hour that began with the first.
func (m *Model) hourOf(pool, client string, sliding bool) (times []int64) {
	u := m.urgents[[2]string{pool, client}]
	if u == nil {
		return nil
	}
	if len(u.fixed) > 0 && m.now-u.fixed[0] < 3600*1000 {
		times = append(times, u.fixed...)
	}
	if sliding {
		for _, at := range u.sliding {
			if at/60_000+60 >= m.now/60_000 {
				times = append(times, at)
			}
		}
	}
	return times
}

func (m *Model) countUrgent(pool, client string, sliding bool) {
	share := [2]string{pool, client}
	if m.urgents[share] == nil {
		m.urgents[share] = &urgents{}
	}
	u, fixed := m.urgents[share], m.hourOf(pool, client, false)
	if !sliding {
		u.fixed = append(fixed, m.now)
		return
	}
	u.fixed = nil
	for range fixed {
		u.sliding = append(u.sliding, m.now)
	}
	u.sliding = append(u.sliding, m.now)
}

// urgents are the times of a client's urgent jobs.
type urgents struct{ fixed, sliding []int64 }

func (m *Model) diffPermits(s *fsm.State, pool string) error {
	for n := range 4 {
		key := fmt.Sprintf("key%d", n)
		most, waiting, runs, held := m.permits(pool, key)
		want, got := fmt.Sprint(most, waiting, runs, held), fmt.Sprint(0, 0, 0, 0)
		if k, ok := s.Semaphore(pool, key); ok {
			got = fmt.Sprint(k.Most, k.Waiting, k.Running, k.Held)
		}
		if got != want {
			return fmt.Errorf("concurrency key %s has %s and should have %s", key, got, want)
		}
	}
	var got []fsm.LeaseID
	for _, a := range s.Holds() {
		got = append(got, a.Lease)
	}
	var want []fsm.LeaseID
	for _, j := range m.those(func(*fsm.Job) bool { return true }) {
		for _, a := range j.Attempts {
			if a.Held {
				want = append(want, a.Lease)
			}
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("leases that hold keys are %v and should be %v", got, want)
	}
	return nil
}
