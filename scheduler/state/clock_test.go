package state

import (
	"testing"
	"time"
)

// A script of readings: what this machine's clocks show, and what cluster time
// must be then.
func TestClock(t *testing.T) {
	const start = 1_700_000_000_000 // ms
	at := func(ms int64) time.Time { return time.UnixMilli(start + ms) }
	tests := []struct {
		name  string
		wall  time.Time // at the beginning
		drift int64     // wall ms gained a second
		after []int64   // readings after each second, in ms since start
	}{
		{"right", at(0), 0, []int64{1000, 2000, 3000}},
		{"a minute ahead of wall time: slower, never back", at(-60_000), 0, []int64{900, 1800, 2700}},
		{"a minute behind: faster", at(60_000), 0, []int64{1100, 2200, 3300}},
		{"nearly there", at(50), 0, []int64{1050, 2050, 3050}},
		{"six minutes behind: jumps", at(360_000), 0, []int64{361_000, 362_000}},
		{"a day ahead: as slow as allowed", at(-86_400_000), 0, []int64{900, 1800}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{}
			c.observe(start, 0)
			c.takeOffice(0)
			for i, want := range tt.after {
				mono := time.Duration(i+1) * time.Second
				if got := c.read(mono, tt.wall.Add(mono)) - start; got != want {
					t.Errorf("after %v: %d ms, want %d", mono, got, want)
				}
			}
		})
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	c := &clock{}
	wall := time.UnixMilli(1_700_000_000_000)
	var last int64
	for i, mono := range []time.Duration{0, time.Second, time.Second, 2 * time.Second, 3 * time.Second} {
		got := c.read(mono, wall.Add(-time.Duration(i)*time.Hour))
		if got < last {
			t.Errorf("reading %d is %d ms before the one before it", i, last-got)
		}
		last = got
	}
	c.observe(last+500, 3*time.Second)
	if got := c.read(3*time.Second, wall); got != last+500 {
		t.Errorf("the state reached %d, the clock shows %d", last+500, got)
	}
}

// Office passes to a node that heard of the state's latest time a while ago: the
// time since then has passed, and the node's own wall time has no part in it.
func TestClockTakesOffice(t *testing.T) {
	const start = 1_700_000_000_000
	c := &clock{}
	c.observe(start, 10*time.Second)
	c.read(40*time.Second, time.UnixMilli(start+300_000)) // somebody asks the follower
	c.takeOffice(60 * time.Second)
	if got := c.read(60*time.Second, time.UnixMilli(start+50_000)) - start; got != 50_000 {
		t.Errorf("50 s after the state's latest time the clock shows %d ms", got)
	}
	c.observe(start+1, 60*time.Second)
	c.takeOffice(61 * time.Second)
	if got := c.read(61*time.Second, time.UnixMilli(start+1001)) - start; got != 1001 {
		t.Errorf("a second after the next time the clock shows %d ms", got)
	}
}
