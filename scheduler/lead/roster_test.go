package lead

import (
	"slices"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/raftnode"
)

const (
	ttl      = 10 * time.Second
	interval = 100 * time.Millisecond
)

// watchers runs a roster of a pool with a time to live of 10 s, so that a
// heartbeat is due every 2 s.
type watchers struct {
	*roster
	now time.Duration
}

func newWatchers() *watchers {
	w := &watchers{roster: newRoster()}
	w.tune(ttl)
	return w
}

// add enlists a worker with leases; one that is met has a session.
func (w *watchers) add(name string, leases int, met bool) *member {
	grace := ttl + time.Second
	if met {
		grace = 0
	}
	m := w.enlist(name, w.now, grace)
	for range leases {
		m.leases[fsm.LeaseID(len(w.members)*100+len(m.leases))] = struct{}{}
	}
	if met {
		m.met, m.session = true, &session{}
	}
	return m
}

// until passes time up to a moment, in the steps of the leader, with heartbeats
// of some workers, and returns the verdicts that had a consequence.
func (w *watchers) until(end time.Duration, alive ...*member) (told []verdict, at []time.Duration) {
	for w.now < end {
		w.now += interval
		if w.now%w.beat == 0 {
			for _, m := range alive {
				m.hear(w.now)
			}
		}
		v := w.check(w.now, interval)
		if len(v.over) > 0 || v.suspect {
			told, at = append(told, v), append(at, w.now)
			for _, m := range v.over {
				clear(m.leases) // as they are once they are expired
			}
		}
	}
	return told, at
}

func names(members []*member) (all []string) {
	for _, m := range members {
		all = append(all, m.name)
	}
	slices.Sort(all)
	return all
}

func TestSilentWorkerLosesItsLeases(t *testing.T) {
	w := newWatchers()
	a, b := w.add("a", 2, true), w.add("b", 8, true)
	w.until(4*time.Second, a, b)
	w.until(9100*time.Millisecond, b)
	if v := w.check(w.now, interval); !slices.Equal(names(v.silent), []string{"a"}) || len(v.mute) != 0 {
		t.Errorf("5.1 s after its last heartbeat: silent %v, mute %v", names(v.silent), names(v.mute))
	}
	told, at := w.until(30*time.Second, b)
	if len(told) != 1 || !slices.Equal(names(told[0].over), []string{"a"}) || told[0].suspect {
		t.Fatalf("verdicts: %+v", told)
	}
	if at[0] != 14*time.Second {
		t.Errorf("the leases of a worker heard at 4 s are over at %v", at[0])
	}
}

func TestHeartbeatsKeepLeases(t *testing.T) {
	w := newWatchers()
	a, b := w.add("a", 5, true), w.add("b", 5, true)
	if told, _ := w.until(5*time.Minute, a, b); len(told) != 0 {
		t.Errorf("verdicts: %+v", told)
	}
}

// After an election nobody has been heard yet: the leases hold for the time to
// live and an election, also of workers that have not come back.
func TestGraceAfterElection(t *testing.T) {
	w := newWatchers()
	w.add("a", 1, false)
	back := w.add("b", 9, false)
	told, at := w.until(60*time.Second, back)
	if len(told) != 1 || at[0] != ttl+time.Second || !slices.Equal(names(told[0].over), []string{"a"}) {
		t.Errorf("verdicts: %+v at %v", told, at)
	}
}

// More than a third of at least three leases: the silence is pardoned once.
func TestSuspicion(t *testing.T) {
	tests := []struct {
		name         string
		silent, live int // leases of workers that fall silent, and of one that does not
		suspect      bool
	}{
		{"two of two", 2, 0, false},
		{"three of three", 3, 0, true},
		{"three of nine", 3, 6, false},
		{"four of nine", 4, 5, true},
		{"one of a hundred", 1, 99, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWatchers()
			live := w.add("live", tt.live, true)
			for i := range tt.silent {
				w.add(string(rune('a'+i)), 1, true)
			}
			told, at := w.until(60*time.Second, live)
			var want []time.Duration
			if tt.suspect {
				want = []time.Duration{ttl, 2 * ttl}
			} else {
				want = []time.Duration{ttl}
			}
			if !slices.Equal(at, want) {
				t.Fatalf("verdicts at %v, want %v", at, want)
			}
			if tt.suspect && (!told[0].suspect || len(told[0].over) != 0 || told[0].leases != tt.silent || !told[0].met) {
				t.Errorf("first verdict: %+v", told[0])
			}
			if last := told[len(told)-1]; len(last.over) != tt.silent || last.suspect {
				t.Errorf("last verdict: %+v", last)
			}
		})
	}
}

// Workers that are heard again keep their leases, and a later silence of theirs
// is judged anew.
func TestSuspicionEndsWithAWord(t *testing.T) {
	w := newWatchers()
	a, b, c := w.add("a", 1, true), w.add("b", 1, true), w.add("c", 1, true)
	told, _ := w.until(ttl)
	if len(told) != 1 || !told[0].suspect {
		t.Fatalf("verdicts: %+v", told)
	}
	if told, _ := w.until(40*time.Second, a, b, c); len(told) != 0 {
		t.Fatalf("they were heard again, but: %+v", told)
	}
	told, at := w.until(80 * time.Second)
	if want := []time.Duration{50 * time.Second, 60 * time.Second}; !slices.Equal(at, want) || !told[0].suspect {
		t.Errorf("verdicts at %v, want %v: %+v", at, want, told)
	}
}

// A new leader that was deaf from the start says so: another one would not have
// been heard by it either.
func TestSuspicionOfUnmetWorkers(t *testing.T) {
	w := newWatchers()
	for _, name := range []string{"a", "b", "c"} {
		w.add(name, 1, false)
	}
	told, at := w.until(60 * time.Second)
	if len(told) != 2 || !told[0].suspect || told[0].met {
		t.Errorf("verdicts: %+v at %v", told, at)
	}
}

// Time in which the leader itself stood still is not held against the workers.
func TestPauseOfTheLeader(t *testing.T) {
	w := newWatchers()
	a := w.add("a", 1, true)
	w.until(4*time.Second, a)
	w.now += time.Minute
	if v := w.check(w.now, interval); len(v.over) != 0 {
		t.Errorf("the leader slept for a minute and gave up %v", names(v.over))
	}
	told, at := w.until(5 * time.Minute)
	if len(told) != 1 || at[0] < 73*time.Second || at[0] > 75*time.Second {
		t.Errorf("verdicts: %+v at %v", told, at)
	}
}

// A lease that heartbeats do not name is given up only when that lasts.
func TestOrphans(t *testing.T) {
	w := newWatchers()
	a := w.add("a", 2, true)
	var ids []fsm.LeaseID
	for id := range a.leases {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	beat := func() []orphan {
		w.now += w.beat
		a.hear(w.now)
		return w.check(w.now, w.beat).orphans
	}
	for range 20 { // each is missing now and then, neither for long
		a.claim([]uint64{uint64(ids[0])}, w.now)
		beat()
		a.claim([]uint64{uint64(ids[1])}, w.now)
		if found := beat(); len(found) != 0 {
			t.Fatalf("orphans: %v", found)
		}
	}
	begun := w.now
	for {
		a.claim([]uint64{uint64(ids[1])}, w.now)
		if found := beat(); len(found) > 0 {
			if took := w.now - begun; took < 2*ttl-w.beat || found[0].lease != ids[0] || len(found) != 1 {
				t.Errorf("orphans after %v: %v", took, found)
			}
			return
		}
		if w.now > begun+time.Minute {
			t.Fatal("the orphan is not found")
		}
	}
}

// The times to live of the profiles, and of pools that ask for their own: never
// so short that an election and a reconnect would use them up.
func TestTimeToLive(t *testing.T) {
	for _, tt := range []struct {
		profile raftnode.Profile
		pool    time.Duration
		want    time.Duration
	}{
		{raftnode.Local, 0, 4 * time.Second},
		{raftnode.Default, 0, 15 * time.Second},
		{raftnode.WAN, 0, 30 * time.Second},
		{raftnode.Default, time.Minute, time.Minute},
		{raftnode.Default, time.Millisecond, 4500 * time.Millisecond},
		{raftnode.WAN, time.Millisecond, 7500 * time.Millisecond},
	} {
		if got := Timings(tt.profile).ttl(fsm.Limits{LeaseTTL: tt.pool.Milliseconds()}); got != tt.want {
			t.Errorf("profile %s, pool %v: %v, want %v", tt.profile.Name, tt.pool, got, tt.want)
		}
	}
}

func TestSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for _, name := range []string{"a", "b", "c", "d", "worker-1", "worker-2"} {
		d := spread(name, time.Second)
		if d < 0 || d >= time.Second || d != spread(name, time.Second) {
			t.Errorf("%s: %v", name, d)
		}
		seen[d] = true
	}
	if len(seen) < 5 {
		t.Errorf("hardly spread: %v", seen)
	}
}
