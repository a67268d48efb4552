package raftnode

import (
	"context"
	"sync"
	"time"
)

// prober asks the other voters whether their disks write. Their heartbeats do
// not tell: those never touch a disk.
type prober struct {
	node *Node

	rounds sync.WaitGroup

	mu      sync.Mutex
	running bool
	last    time.Time // when one confirmed
}

// probeTime bounds one round. What takes longer is not a working disk.
const probeTime = 800 * time.Millisecond

// ask starts a round, unless one is under way.
func (p *prober) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return
	}
	p.running = true
	p.rounds.Go(p.round)
}

func (p *prober) round() {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	begun := time.Now()
	var voters sync.WaitGroup
	for _, v := range p.node.otherVoters() {
		voters.Go(func() {
			asked := time.Now()
			if p.node.stream.ask(ctx, v, forProbe, p.node.cluster()) == nil {
				p.confirm(asked)
			}
		})
	}
	voters.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	if p.last.Before(begun) {
		p.node.metrics.unheard.Inc()
	}
}

func (p *prober) confirm(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.After(p.last) {
		p.last = at
	}
}

// heard says whether a voter has confirmed within the given time.
func (p *prober) heard(within time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last) < within
}
