package lead

import (
	"context"
	"sync"
	"time"
)

// probeTime is how long a session has to show that its worker is alive, before
// another may take its place.
const probeTime = time.Second

// probe asks a session's worker whether it is still there.
type probe struct {
	mu       sync.Mutex
	nonce    uint64
	answered chan struct{}
}

// ask makes a new question.
func (p *probe) ask() (nonce uint64, answered <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nonce++
	p.answered = make(chan struct{})
	return p.nonce, p.answered
}

// answer takes in a reply; an old one does not count.
func (p *probe) answer(nonce uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answered != nil && nonce == p.nonce {
		close(p.answered)
		p.answered = nil
	}
}

// answers says whether the session's worker replies within the time.
func (s *session) answers(ctx context.Context, patience time.Duration) bool {
	nonce, answered := s.probed.ask()
	if s.out.probe(nonce) != nil {
		return false
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-answered:
		return true
	case <-timer.C:
	case <-s.ctx.Done():
	case <-ctx.Done():
	}
	return false
}
