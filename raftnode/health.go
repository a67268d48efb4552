package raftnode

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// health knows what is wrong with a node's disks.
type health struct {
	mu       sync.Mutex
	problems map[string]problem
}

type problem struct {
	what  string
	since time.Time
}

// bad notes that part does not work; it returns whether that is new.
func (h *health) bad(part, what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, known := h.problems[part]
	if !known {
		p.since = time.Now()
	}
	if h.problems == nil {
		h.problems = map[string]problem{}
	}
	h.problems[part] = problem{what, p.since}
	return !known
}

// known says whether anything is wrong with part.
func (h *health) known(part string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.problems[part]
	return known
}

// good notes that part works; it returns for how long it did not.
func (h *health) good(part string) (recovered bool, after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, known := h.problems[part]
	if known {
		delete(h.problems, part)
	}
	return known, time.Since(p.since)
}

// String is empty when nothing is wrong.
func (h *health) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for part, p := range h.problems {
		all = append(all, fmt.Sprintf("%s: %s, for %v", part, p.what, time.Since(p.since).Round(time.Second)))
	}
	slices.SortFunc(all, cmp.Compare)
	return strings.Join(all, "; ")
}
