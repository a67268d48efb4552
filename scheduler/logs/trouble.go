package logs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// yieldEvery is how often a leader may hand its office over for its log store:
// where all nodes' disks are full, the office does not go round and round.
const yieldEvery = time.Minute

// trouble is a log store that takes nothing, mostly because its disk is full. A
// leader with one may be healthy in all else, and keeps every log from being
// sealed, whatever room the other nodes have. So it hands its office over.
type trouble struct {
	mu      sync.Mutex
	err     error     // nil: the store works as far as is known
	since   time.Time // it does not
	last    time.Time // of the failures
	yielded time.Time
}

// took notes whether the store has taken what came.
func (s *Service) took(err error) {
	if errors.Is(err, logstore.ErrClosed) {
		return
	}
	fresh, after := s.trouble.note(err, time.Now())
	switch {
	case err == nil && after > 0:
		s.Logger.Info("the log store takes logs again", "after", after.Round(time.Millisecond))
	case err != nil && fresh:
		s.Logger.Warn("the log store takes nothing; logs wait at their workers", "error", err)
	}
}

// note returns whether trouble has begun, or, with the first success, how long it
// lasted.
func (t *trouble) note(err error, now time.Time) (fresh bool, after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.err
	t.err = err
	switch {
	case err == nil && was != nil:
		return false, max(now.Sub(t.since), 1)
	case err == nil:
		return false, 0
	case was == nil:
		t.since = now
	}
	t.last = now
	return was == nil, 0
}

// Trouble says what is wrong with this node's log store; empty: nothing is known.
func (s *Service) Trouble() string {
	s.trouble.mu.Lock()
	defer s.trouble.mu.Unlock()
	if s.trouble.err == nil {
		return ""
	}
	return fmt.Sprintf("its log store takes no logs since %v: %v", time.Since(s.trouble.since).Round(time.Second), s.trouble.err)
}

// yields says, once in a while, that trouble has lasted and still goes on.
func (t *trouble) yields(now time.Time, patience time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil || now.Sub(t.since) < patience || now.Sub(t.last) > patience {
		return false
	}
	if !t.yielded.IsZero() && now.Sub(t.yielded) < yieldEvery {
		return false
	}
	t.yielded = now
	return true
}

// yieldLoop hands the office over when this node's store takes nothing and
// another node may do better.
func (t *term) yieldLoop(ctx context.Context) error {
	tick := time.NewTicker(t.every.yield / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if others, _ := t.others(); len(others) == 0 || !t.trouble.yields(time.Now(), t.every.yield) {
			continue
		}
		t.Logger.Warn("handing the office over: this node's log store takes nothing")
		if err := t.HandOver(ctx); err != nil && ctx.Err() == nil {
			t.Logger.Warn("office not handed over", "error", err)
		}
	}
}
