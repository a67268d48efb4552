package lead

import (
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// roster is when the workers of one pool were heard last, and what follows from
// that. It has no clock: times are told, as durations since the term began.
type roster struct {
	ttl     time.Duration // a lease outlives its worker's silence by so much
	beat    time.Duration // how often a worker is to be heard
	members map[string]*member
	checked time.Duration // when check was called last
}

// member is one registered worker.
type member struct {
	name    string
	heard   atomic.Int64 // when, as a time.Duration
	met     bool         // it was heard in this term
	leases  map[fsm.LeaseID]struct{}
	unnamed map[fsm.LeaseID]time.Duration // leases that its heartbeats do not name, and since when

	grace    time.Duration // its leases hold at least until then
	pardoned time.Duration // when it had been heard last as its silence was pardoned; 0: never

	session    *session   // nil: not connected
	capability string     // id of the one that it came with last
	revoked    bool       // that one is: what it still holds is taken back
	pause      *fsm.Pause // an operator's; nil: none
}

// verdict is what silence has led to.
type verdict struct {
	silent []*member // missed two heartbeats: no new jobs for them
	mute   []*member // silent for the time to live
	over   []*member // of those, whose leases are to be given up
	// suspect says that so many leases would be given up at once that this node
	// may be the one that is deaf. It has pardoned them for one more time to live.
	suspect bool
	met     bool // it had heard some of those in this term
	leases  int  // how many
	orphans []orphan
}

// orphan is a lease of which its worker, although it is heard, says nothing.
type orphan struct {
	member *member
	lease  fsm.LeaseID
}

func newRoster() *roster { return &roster{members: map[string]*member{}} }

// tune sets the pool's patience.
func (r *roster) tune(ttl time.Duration) {
	r.ttl = ttl
	r.beat = min(ttl/5, 3*time.Second)
}

// enlist returns the member of a name. A new one is taken as heard now, and its
// leases hold for grace.
func (r *roster) enlist(name string, now, grace time.Duration) *member {
	m, ok := r.members[name]
	if !ok {
		m = &member{name: name, grace: now + grace, leases: map[fsm.LeaseID]struct{}{}, unnamed: map[fsm.LeaseID]time.Duration{}}
		m.heard.Store(int64(now))
		r.members[name] = m
	}
	return m
}

// hear tells that something came from the worker.
func (m *member) hear(now time.Duration) { m.heard.Store(int64(now)) }

func (m *member) lastHeard() time.Duration { return time.Duration(m.heard.Load()) }

// claim tells which leases a heartbeat named. One that is missing should be on
// its way to the worker, or its end on its way back.
func (m *member) claim(named []uint64, now time.Duration) {
	since := m.unnamed
	m.unnamed = make(map[fsm.LeaseID]time.Duration, len(since))
	for id := range m.leases {
		m.unnamed[id] = now
		if at, ok := since[id]; ok {
			m.unnamed[id] = at
		}
	}
	for _, id := range named {
		delete(m.unnamed, fsm.LeaseID(id))
	}
}

// orphaned lists the leases that a worker has not named for two times to live.
func (r *roster) orphaned(m *member, now time.Duration, found []orphan) []orphan {
	for id, since := range m.unnamed {
		if _, held := m.leases[id]; held && now-since > 2*r.ttl {
			found = append(found, orphan{m, id})
			m.unnamed[id] = now // if giving it up fails
		}
	}
	return found
}

// deadline is when the member's leases are over, if nothing is heard of it.
func (r *roster) deadline(m *member) time.Duration { return max(m.lastHeard()+r.ttl, m.grace) }

// quiet is how long a worker may be unheard before it counts as silent: two
// heartbeats, and a half for the way.
func (r *roster) quiet() time.Duration { return 5 * r.beat / 2 }

func (r *roster) isSilent(m *member, now time.Duration) bool {
	return now-m.lastHeard() > r.quiet()
}

// pause gives back the time in which this node itself stood still: what workers
// said then may still wait to be read.
func (r *roster) pause(now, interval time.Duration) {
	lost := now - r.checked - interval
	r.checked = now
	if lost < 2*interval {
		return
	}
	for _, m := range r.members {
		m.grace = max(m.grace, r.deadline(m)+lost)
	}
}

// check says what silence has led to. interval is how often it is called.
func (r *roster) check(now, interval time.Duration) verdict {
	r.pause(now, interval)
	var v verdict
	suspicious := false
	for _, m := range r.members {
		if m.session != nil && r.isSilent(m, now) {
			v.silent = append(v.silent, m)
		}
		if m.session != nil {
			v.orphans = r.orphaned(m, now, v.orphans)
		}
		if now < r.deadline(m) {
			continue
		}
		v.mute = append(v.mute, m)
		if len(m.leases) > 0 {
			v.over = append(v.over, m)
			suspicious = suspicious || !m.isPardoned()
		}
	}
	if suspicious {
		r.suspect(now, &v)
	}
	return v
}

func (m *member) isPardoned() bool { return m.pardoned != 0 && m.pardoned == m.lastHeard()+1 }

// silence counts the leases of workers that are silent and have not been
// pardoned. Many are more than a third of the pool's leases, and at least three.
func (r *roster) silence(now time.Duration) (leases int, met, many bool) {
	all := 0
	for _, m := range r.members {
		all += len(m.leases)
		if r.isSilent(m, now) && !m.isPardoned() {
			leases += len(m.leases)
			met = met || m.met && len(m.leases) > 0
		}
	}
	return leases, met, leases >= 3 && leases*3 > all
}

// suspect gives the silence of many one more time to live.
func (r *roster) suspect(now time.Duration, v *verdict) {
	silent, met, many := r.silence(now)
	if !many {
		return
	}
	v.suspect, v.met, v.leases = true, met, silent
	var over []*member
	for _, m := range v.over {
		if m.isPardoned() {
			over = append(over, m)
		}
	}
	v.over = over
	for _, m := range r.members {
		if r.isSilent(m, now) && !m.isPardoned() {
			m.pardoned = m.lastHeard() + 1
			m.grace = now + r.ttl
		}
	}
}

// unheard says for how long nothing was heard of a member.
func (m *member) unheard(now time.Duration) string {
	ago := (now - m.lastHeard()).Round(100 * time.Millisecond)
	if !m.met {
		return fmt.Sprintf("was not heard in the %v since the last election", ago)
	}
	return fmt.Sprintf("was not heard for %v", ago)
}

// explain says how long the leases of a member that is not heard still hold.
func (r *roster) explain(m *member, now time.Duration) string {
	left := (r.deadline(m) - now).Round(100 * time.Millisecond)
	if left <= 0 {
		return fmt.Sprintf("the worker %s; its lease is about to be given up", m.unheard(now))
	}
	text := fmt.Sprintf("the worker %s; its lease holds for another %v", m.unheard(now), left)
	if _, _, many := r.silence(now); many && !m.isPardoned() {
		text += fmt.Sprintf(", and then for %v more if as many workers stay silent", r.ttl)
	}
	return text
}

// spread is a part of a duration that differs from name to name, so that what
// would fall due together does not.
func spread(name string, most time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(name))
	return most * time.Duration(h.Sum32()%1024) / 1024
}
