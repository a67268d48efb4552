package auth

import (
	"net"
	"sync"
	"time"
)

const (
	// paceWindow is how long refusals that are alike are counted together.
	paceWindow = time.Minute
	// paceBurst is how many of those are written down one by one.
	paceBurst = 5
	// maxAlike bounds the kinds of refusals that are told apart.
	maxAlike = 128
)

// alike is what refusals have in common that a hammering client causes.
type alike struct{ who, host, kind string }

// rest takes the place of all that are one kind too many.
var rest = alike{who: "others"}

// tally counts the refusals of one kind since the first of them.
type tally struct {
	since   time.Time
	written int
	more    int
	last    string // why the last of them was refused
}

// summary is what was counted and not written.
type summary struct {
	alike
	more int
	last string
}

// pacer keeps a client that is refused again and again from filling the log. Of
// refusals that are alike the first few are written, the others are counted.
// The zero value is ready.
type pacer struct {
	mu      sync.Mutex
	tallies map[alike]*tally
}

// write says whether a refusal is to be written down by itself.
func (p *pacer) write(who, remote, kind, why string, now time.Time) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	key := alike{who, host, kind}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tallies == nil {
		p.tallies = map[alike]*tally{}
	}
	if p.tallies[key] == nil && len(p.tallies) >= maxAlike {
		key = rest
	}
	t := p.tallies[key]
	if t == nil {
		t = &tally{since: now}
		p.tallies[key] = t
	}
	if t.written < paceBurst {
		t.written++
		return true
	}
	t.more++
	t.last = why
	return false
}

// take ends the windows that are over, all of them when now is zero, and returns
// what was counted in them.
func (p *pacer) take(now time.Time) (sums []summary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, t := range p.tallies {
		if !now.IsZero() && now.Sub(t.since) < paceWindow {
			continue
		}
		delete(p.tallies, key)
		if t.more > 0 {
			sums = append(sums, summary{key, t.more, t.last})
		}
	}
	return sums
}
