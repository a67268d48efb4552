package session

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// patience is how long a connection may take to come up.
	patience = time.Second
	// shortPatience is for an address that has just been silent.
	shortPatience = 300 * time.Millisecond
	// memory is how long a failure to reach an address counts.
	memory = 30 * time.Second
	// resigned is how long after such a failure the direct way is not even tried.
	resigned = 5 * time.Second
	// maxHops is how many redirects are followed without a pause.
	maxHops = 3
	// maxAddresses bounds what nodes can make a worker remember.
	maxAddresses = 64
)

// step is the next thing to try.
type step struct {
	addr     string
	relay    bool   // ask it to pass the session on
	leader   string // with relay: where the leader is said to be
	patience time.Duration
	now      bool // follow at once, without a pause
}

// route decides which node to try next. It knows no clock: the time is a
// parameter.
type route struct {
	given  []string // by the capability; they stay
	addrs  []string // all that are known
	at     int
	lead   string // a node said that the leader is there
	via    string // that node
	relay  bool   // ask via to pass the session on
	hops   int
	misses map[string]miss
}

// miss is what is known of an address that could not be reached.
type miss struct {
	first, last time.Time
	timedOut    bool
	count       int
}

func newRoute(given, known []string) *route {
	r := &route{given: given, misses: map[string]miss{}}
	r.addrs = slices.Clone(given)
	rand.Shuffle(len(r.addrs), func(i, j int) { r.addrs[i], r.addrs[j] = r.addrs[j], r.addrs[i] })
	r.learn(known)
	return r
}

// learn adds addresses.
func (r *route) learn(addrs []string) {
	for _, a := range addrs {
		if a != "" && len(r.addrs) < maxAddresses && !slices.Contains(r.addrs, a) {
			r.addrs = append(r.addrs, a)
		}
	}
}

// members replaces what was learnt by what the leader says now.
func (r *route) members(addrs []string) {
	if len(addrs) == 0 {
		return
	}
	r.addrs = slices.DeleteFunc(r.addrs, func(a string) bool {
		return !slices.Contains(addrs, a) && !slices.Contains(r.given, a)
	})
	r.learn(addrs)
}

// next returns what to try now.
func (r *route) next(now time.Time) step {
	s := r.choose()
	if m := r.misses[s.addr]; !m.last.IsZero() && now.Sub(m.last) < memory && m.timedOut {
		s.patience = shortPatience
	}
	s.now = s.now && r.hops < maxHops
	if s.now {
		r.hops++
	} else {
		r.hops = 0
	}
	return s
}

func (r *route) choose() step {
	switch {
	case r.relay:
		return step{addr: r.via, relay: true, leader: r.lead, patience: patience, now: true}
	case r.lead != "":
		return step{addr: r.lead, patience: patience, now: true}
	default:
		return step{addr: r.addrs[r.at%len(r.addrs)], patience: patience}
	}
}

// advance gives up what the last nodes said and goes on to the next address.
func (r *route) advance() {
	r.lead, r.via, r.relay = "", "", false
	r.at = (r.at + 1) % len(r.addrs)
}

// failed notes that a step's node could not be reached.
func (r *route) failed(s step, timedOut bool, now time.Time) {
	if s.relay { // it may be the leader that the node did not reach
		r.advance()
		return
	}
	m := r.misses[s.addr]
	if now.Sub(m.last) > memory {
		m = miss{first: now}
	}
	m.last, m.timedOut = now, timedOut
	m.count++
	r.misses[s.addr] = m
	if s.addr == r.lead && r.via != s.addr && m.hopeless(now) {
		r.relay = true
		return
	}
	r.advance()
}

// hopeless tells a leader that is out of reach from one that has just died: the
// latter refuses connections, and soon nobody names it any more.
func (m miss) hopeless(now time.Time) bool {
	return m.timedOut || m.count > 1 && now.Sub(m.first) > 4*shortPatience
}

// redirected notes what a node answered; leader is empty while there is none.
func (r *route) redirected(s step, leader string, now time.Time) {
	if leader == "" || leader == s.addr || s.relay && leader == s.leader {
		r.advance()
		return
	}
	r.lead, r.via, r.relay = leader, s.addr, false
	if m, ok := r.misses[leader]; ok && now.Sub(m.last) < resigned && m.hopeless(now) {
		r.relay = true
	}
}

// arrived notes that a session began.
func (r *route) arrived(s step) {
	if !s.relay {
		delete(r.misses, s.addr)
	}
	r.lead, r.via, r.relay, r.hops = "", "", false, 0
}

// lost notes that a session ended. The next to try is another node.
func (r *route) lost(s step, silent bool, now time.Time) {
	r.lead, r.via, r.relay = "", "", false
	if silent {
		r.misses[s.addr] = miss{first: now, last: now, timedOut: true, count: 1}
	}
	if i := slices.Index(r.addrs, s.addr); i >= 0 {
		r.at = (i + 1) % len(r.addrs)
	}
}

// direct makes the leader's own address the next to try.
func (r *route) direct(leader string) {
	delete(r.misses, leader)
	r.lead, r.via, r.relay = leader, leader, false
}

// pacing is how long to wait between tries.
type pacing struct {
	started time.Time
	next    time.Duration
	cap     time.Duration // 0: slowest
}

const (
	quick     = 100 * time.Millisecond
	quickFor  = 5 * time.Second // an election takes less
	slowest   = time.Second
	slowPause = 10 * time.Second // after a refusal that only time can lift
)

// pause returns the wait before the next try: up to 100 ms while an election may
// be on, then more and more, up to a second, and never the same for two workers.
func (p *pacing) pause(now time.Time) time.Duration {
	limit := slowest
	if p.cap > 0 {
		limit = min(limit, p.cap)
	}
	if now.Sub(p.started) < quickFor {
		p.next = quick
	} else {
		p.next = min(max(2*p.next, quick), limit)
	}
	return jitter(p.next)
}

// jitter returns a time between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
