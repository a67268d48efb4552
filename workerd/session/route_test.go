package session

import (
	"slices"
	"testing"
	"time"
)

// the moment at which the tests of pure parts begin.
var start0 = time.Unix(1_000_000, 0)

func routeOf(addrs ...string) *route {
	r := newRoute(addrs, nil)
	r.addrs = slices.Clone(addrs) // in a known order
	return r
}

func want(t *testing.T, r *route, now time.Time, addr string, relay, immediately bool) step {
	t.Helper()
	s := r.next(now)
	if s.addr != addr || s.relay != relay || s.now != immediately {
		t.Fatalf("next: %+v, want %s relay=%v now=%v", s, addr, relay, immediately)
	}
	return s
}

func TestRouteGoesRoundWhileThereIsNoLeader(t *testing.T) {
	r := routeOf("a", "b", "c")
	for _, addr := range []string{"a", "b", "c", "a"} {
		r.redirected(want(t, r, start0, addr, false, false), "", start0)
	}
}

func TestRouteAsksForARelayOnlyWhenTheLeaderIsOutOfReach(t *testing.T) {
	r, now := routeOf("a", "b", "c"), start0
	r.redirected(want(t, r, now, "a", false, false), "c", now)
	r.failed(want(t, r, now, "c", false, true), false, now) // it refused: it may just have died
	s := want(t, r, now, "b", false, false)
	r.redirected(s, "c", now)
	now = now.Add(2 * time.Second)
	r.failed(want(t, r, now, "c", false, true), false, now) // and still does
	s = want(t, r, now, "b", true, true)
	if s.leader != "c" {
		t.Errorf("leader of the relayed session: %q", s.leader)
	}
	r.arrived(s)
	r.lost(s, false, now)
	r.redirected(want(t, r, now, "c", false, false), "", now) // the direct way is tried again
}

func TestRouteDoesNotWaitTwiceForABlackHole(t *testing.T) {
	r, now := routeOf("a", "b"), start0
	r.redirected(want(t, r, now, "a", false, false), "x", now)
	s := want(t, r, now, "x", false, true)
	if s.patience != patience {
		t.Errorf("patience %v at first", s.patience)
	}
	r.failed(s, true, now)
	r.failed(want(t, r, now, "a", true, true), false, now) // the relay did not work
	r.redirected(want(t, r, now, "b", false, false), "x", now)
	r.failed(want(t, r, now, "b", true, true), false, now) // x is not tried within 5 s
	now = now.Add(resigned)
	r.redirected(want(t, r, now, "a", false, false), "x", now)
	if s := want(t, r, now, "x", false, true); s.patience != shortPatience {
		t.Errorf("patience %v for an address that was silent", s.patience)
	}
}

func TestRouteBreaksALoopOfRedirects(t *testing.T) {
	r, now := routeOf("a", "b"), start0
	r.redirected(r.next(now), "b", now)
	pauses := 0
	for range 20 {
		s := r.next(now)
		if !s.now {
			pauses++
		}
		to := "a"
		if s.addr == "a" {
			to = "b"
		}
		r.redirected(s, to, now)
	}
	if pauses < 4 {
		t.Errorf("%d pauses in 20 redirects", pauses)
	}
}

func TestRouteKeepsTheCapabilitysAddresses(t *testing.T) {
	r := routeOf("a", "b")
	r.members([]string{"b", "c", "d"})
	r.members([]string{"c", "e"})
	if want := []string{"a", "b", "c", "e"}; !slices.Equal(r.addrs, want) {
		t.Errorf("addresses: %v, want %v", r.addrs, want)
	}
	r.members(nil)
	if len(r.addrs) != 4 {
		t.Errorf("a leader that names nobody changed them to %v", r.addrs)
	}
}

func TestPauses(t *testing.T) {
	p := pacing{started: start0}
	for range 100 {
		if d := p.pause(start0.Add(time.Second)); d > quick || d < quick/2 {
			t.Fatalf("pause during an election: %v", d)
		}
	}
	later := start0.Add(quickFor)
	for range 10 {
		p.pause(later)
	}
	if d := p.pause(later); d > slowest || d < slowest/2 {
		t.Errorf("pause in the long run: %v", d)
	}
	p.cap = 200 * time.Millisecond
	if d := p.pause(later); d > p.cap {
		t.Errorf("pause over the cluster's cap: %v", d)
	}
}

func TestNewsIsPaced(t *testing.T) {
	var p pacer
	if !p.fresh("a", start0) || p.fresh("a", start0.Add(time.Second)) || !p.fresh("b", start0) {
		t.Error("the same news came twice, or other news was held back")
	}
	if !p.fresh("a", start0.Add(repeatNews)) {
		t.Error("old news never comes again")
	}
}
