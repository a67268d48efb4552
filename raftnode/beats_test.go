package raftnode

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// follow beats to a follower as Raft does, at the given pauses, and tells when
// each left.
func follow(b *beats, id raft.ServerID, begun time.Time, left chan<- time.Duration, pauses ...time.Duration) {
	for _, p := range pauses {
		<-time.After(p) // the bubble's clock
		b.wait(id)
		left <- time.Since(begun)
		b.answered(id, nil)
	}
	close(left)
}

func all(left <-chan time.Duration) (times []time.Duration) {
	for t := range left {
		times = append(times, t)
	}
	return times
}

func TestBeatsLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, begun := newBeats(500*time.Millisecond), time.Now()
		one, two := make(chan time.Duration, 9), make(chan time.Duration, 9)
		const ms = time.Millisecond
		go follow(b, "a", begun, one, 0, 50*ms, 90*ms, 60*ms)
		go follow(b, "b", begun, two, 0, 99*ms, 50*ms, 60*ms)
		first, second := all(one), all(two)
		for i, want := range []time.Duration{0, 99 * ms, 189 * ms, 249 * ms} {
			if first[i] != want || second[i] != want {
				t.Errorf("beat %d left at %v and %v, want %v", i, first[i], second[i], want)
			}
		}
	})
}

// A follower that is gone holds the others up once, for no longer than a tenth of
// the timeout; one that does not answer not at all.
func TestBeatsWaitForNobodyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, begun := newBeats(500*time.Millisecond), time.Now()
		b.answered("gone", nil) // and will never beat again
		b.answered("silent", nil)
		b.answered("silent", errors.New("no answer"))
		left := make(chan time.Duration, 9)
		const ms = time.Millisecond
		follow(b, "a", begun, left, 60*ms, 60*ms, 60*ms)
		times := all(left)
		for i, want := range []time.Duration{60 * ms, 170 * ms, 230 * ms} {
			if times[i] != want {
				t.Errorf("beat %d left at %v, want %v", i, times[i], want)
			}
		}
	})
}

// What a read waits for leaves at once, and takes along what waits.
func TestBeatsOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, begun := newBeats(500*time.Millisecond), time.Now()
		one, two := make(chan time.Duration, 9), make(chan time.Duration, 9)
		const ms = time.Millisecond
		go follow(b, "a", begun, one, 0, 60*ms)
		go follow(b, "b", begun, two, 0, 70*ms, 10*ms)
		for i, want := range []time.Duration{0, 70 * ms} {
			if got := <-one; got != want {
				t.Errorf("beat %d to the first left at %v, want %v", i, got, want)
			}
		}
		for i, want := range []time.Duration{0, 70 * ms, 80 * ms} {
			if got := <-two; got != want {
				t.Errorf("beat %d to the second left at %v, want %v", i, got, want)
			}
		}
	})
}
