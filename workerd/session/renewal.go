package session

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Boottime is the time since this machine was started, in which it also slept.
func Boottime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("session: read the boot-time clock: " + err.Error()) // Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// renewals is when the leases were renewed last, as the cluster must see it: by the
// sending of what it has acknowledged, since the acknowledgement may have been long
// on its way.
type renewals struct {
	mu      sync.Mutex
	last    time.Duration            // by Boottime; 0: never
	pending map[uint64]time.Duration // heartbeats of this session, by number
}

// begin is called with a new session: its hello, sent then, was answered.
func (r *renewals) begin(asked time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, asked)
	r.pending = map[uint64]time.Duration{}
}

func (r *renewals) sent(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[seq] = Boottime()
}

func (r *renewals) acknowledged(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.pending[seq]
	if !ok {
		return
	}
	r.last = max(r.last, at)
	for other := range r.pending {
		if other <= seq {
			delete(r.pending, other)
		}
	}
}

// Renewed is when the latest renewal that the cluster has acknowledged was sent, by
// Boottime; 0: never.
func (s *Session) Renewed() time.Duration {
	s.renewed.mu.Lock()
	defer s.renewed.mu.Unlock()
	return s.renewed.last
}
