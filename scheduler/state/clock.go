package state

import (
	"sync"
	"time"
)

const (
	// slewPart is the part of the passing time by which cluster time may differ
	// from it to come nearer to wall time: a tenth.
	slewPart = 10
	// jumpBehind is how far cluster time must be behind wall time to jump.
	jumpBehind = 5 * time.Minute
)

// clock is the cluster's time on this node. It goes on from the latest time in
// the state with this machine's monotonic clock, and approaches wall time slowly,
// so that one leader with a wrong clock neither freezes nor rushes the cluster.
type clock struct {
	mu   sync.Mutex
	time time.Duration // since the Unix epoch
	mono time.Duration // of the latest reading

	// The latest time in the state, and when this node came to know it.
	reached time.Duration
	heard   time.Duration
}

// read returns the time in milliseconds, given this machine's clocks.
func (c *clock) read(mono time.Duration, wall time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(mono, wall)
	return c.time.Milliseconds()
}

func (c *clock) advance(mono time.Duration, wall time.Time) {
	elapsed := max(mono-c.mono, 0)
	c.mono = mono
	c.time += elapsed
	behind := time.Duration(wall.UnixNano()) - c.time
	if behind > jumpBehind {
		c.time += behind
		return
	}
	most := elapsed / slewPart
	c.time += min(max(behind, -most), most)
}

// observe tells of a time that the state has reached.
func (c *clock) observe(ms int64, mono time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := time.Duration(ms) * time.Millisecond; at > c.reached {
		c.reached, c.heard = at, mono
		c.time = max(c.time, at)
	}
}

// takeOffice begins again at the state's time and what has passed here since
// then, which a cluster without work would lose otherwise. How this node, as a
// follower, approached its own wall time does not count.
func (c *clock) takeOffice(mono time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time, c.mono = c.reached+max(mono-c.heard, 0), mono
}
