package raftnode

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// quiet is a logger that repeats itself rarely: of a node that is away, Raft
// reports every attempt to reach it, many times a second.
type quiet struct {
	hclog.Logger

	mu   sync.Mutex
	last map[string]time.Time
}

const (
	repeatEvery = 10 * time.Second
	maxRemember = 256
)

func newQuiet(l hclog.Logger) hclog.Logger { return &quiet{Logger: l, last: map[string]time.Time{}} }

// Error logs, unless the same was logged a moment ago.
func (q *quiet) Error(msg string, args ...any) {
	if q.news(msg, args) {
		q.Logger.Error(msg, args...)
	}
}

// Warn logs, unless the same was logged a moment ago.
func (q *quiet) Warn(msg string, args ...any) {
	if q.news(msg, args) {
		q.Logger.Warn(msg, args...)
	}
}

// news says whether the message, of the first thing that it names, is new.
func (q *quiet) news(msg string, args []any) bool {
	key := msg
	if len(args) > 1 {
		key += fmt.Sprint(args[1])
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Sub(q.last[key]) < repeatEvery {
		return false
	}
	if len(q.last) >= maxRemember {
		clear(q.last)
	}
	q.last[key] = now
	return true
}
