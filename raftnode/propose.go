package raftnode

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// depth is how many entries are in flight at once: one is being replicated
// while the next is on its way to the leader's own disk.
const depth = 2

// The most that waits for an entry; beyond it proposals are refused as busy.
const (
	maxQueued      = 1 << 17
	maxQueuedBytes = 64 << 20
)

type proposal struct {
	command []byte
	done    func(any, error)
}

// batch is the commands of one entry.
type batch struct {
	commands []proposal
	size     int // of their frames
}

// proposer makes entries of the commands that wait: those that arrive while
// earlier entries are in flight share the next one.
type proposer struct {
	timeout time.Duration
	metrics *metrics

	mu      sync.Mutex
	waiting []batch // the next entries, the last one still filling
	count   int     // commands in them
	bytes   int
	spare   []proposal
	open    bool // while run does
	closed  bool

	wake chan struct{}
}

// entryInFlight is an entry that Raft has, and whose commands wait for it.
type entryInFlight struct {
	batch
	apply raft.ApplyFuture
	begun time.Time
}

func newProposer(timeout time.Duration, m *metrics) *proposer {
	return &proposer{timeout: timeout, metrics: m, wake: make(chan struct{}, 1)}
}

// Propose has the command committed and applied, and returns its result. When
// ctx ends first the outcome is unknown.
func (n *Node) Propose(ctx context.Context, command []byte) (any, error) {
	type reply struct {
		result any
		err    error
	}
	got := make(chan reply, 1)
	n.ProposeAsync(command, func(result any, err error) { got <- reply{result, err} })
	select {
	case r := <-got:
		return r.result, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	}
}

// ProposeAsync has the command committed and applied, and calls done once with
// its result or with why there is none: from the commit goroutine, or at once
// when the proposal is refused. done must be quick and must not block. Commands
// are applied in the order of these calls. The command must not be changed
// before done is called.
func (n *Node) ProposeAsync(command []byte, done func(any, error)) {
	if err := n.proposer.add(proposal{command, done}); err != nil {
		done(nil, err)
	}
}

func (p *proposer) add(c proposal) error {
	if len(c.command) > MaxCommand {
		return ErrTooLarge
	}
	size := frameSize(c.command)
	p.mu.Lock()
	switch {
	case p.closed:
		p.mu.Unlock()
		return ErrClosed
	case !p.open:
		p.mu.Unlock()
		return ErrNotLeader
	case p.count >= maxQueued || p.bytes+size > maxQueuedBytes:
		p.mu.Unlock()
		return ErrBusy
	}
	p.push(c, size)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

func (p *proposer) push(c proposal, size int) {
	last := len(p.waiting) - 1
	if last < 0 || p.waiting[last].size+size > maxEntry {
		p.waiting = append(p.waiting, batch{commands: p.spare})
		p.spare = nil
		last++
	}
	b := &p.waiting[last]
	b.commands = append(b.commands, c)
	b.size += size
	p.count++
	p.bytes += size
}

// take returns the next entry's commands, and whether more are waiting.
func (p *proposer) take() (b batch, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return batch{}, false
	}
	b = p.waiting[0]
	p.waiting = append(p.waiting[:0], p.waiting[1:]...)
	p.count -= len(b.commands)
	p.bytes -= b.size
	return b, len(p.waiting) > 0
}

// recycle gives a settled batch's memory back.
func (p *proposer) recycle(b batch) {
	clear(b.commands)
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(b.commands) > cap(p.spare) {
		p.spare = b.commands[:0]
	}
}

// run commits what is proposed until ctx ends; what waits then was not
// proposed. It returns when every proposal has been answered.
func (p *proposer) run(ctx context.Context, r *raft.Raft) {
	p.mu.Lock()
	p.open = true
	p.mu.Unlock()

	slots := make(chan struct{}, depth)
	inFlight := make(chan entryInFlight, depth)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for e := range inFlight {
			p.settle(ctx, e)
			<-slots
		}
	}()
	p.commit(ctx, r, slots, inFlight)
	close(inFlight)
	<-settled

	p.mu.Lock()
	p.open, p.closed = false, true
	waiting := p.waiting
	p.waiting, p.count, p.bytes = nil, 0, 0
	p.mu.Unlock()
	for _, b := range waiting {
		refuse(b, ErrClosed)
	}
}

// commit hands entries to Raft, as many at a time as there are slots.
func (p *proposer) commit(ctx context.Context, r *raft.Raft, slots chan<- struct{}, inFlight chan<- entryInFlight) {
	for more := false; ; {
		if !more {
			select {
			case <-p.wake:
			case <-ctx.Done():
				return
			}
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		e := entryInFlight{begun: time.Now()}
		if e.batch, more = p.take(); len(e.commands) > 0 && r.State() == raft.Leader {
			p.metrics.batch.Observe(float64(len(e.commands)))
			e.apply = r.ApplyLog(raft.Log{Data: encodeEntry(e.batch)}, p.timeout)
		}
		inFlight <- e
	}
}

// settle waits for an entry and answers its commands.
func (p *proposer) settle(ctx context.Context, e entryInFlight) {
	defer p.recycle(e.batch)
	if e.apply == nil {
		refuse(e.batch, ErrNotLeader)
		return
	}
	if err := p.wait(ctx, e); err != nil {
		p.metrics.failed.Add(float64(len(e.commands)))
		refuse(e.batch, outcome(err))
		return
	}
	p.metrics.commits.Add(float64(len(e.commands)))
	p.metrics.bytes.Add(float64(e.size))
	p.metrics.latency.Observe(time.Since(e.begun).Seconds())
	results := e.apply.Response().([]any)
	for i := range e.commands {
		e.commands[i].done(results[i], nil)
	}
	clear(results) // Raft's log cache keeps the entry, and the entry its response
}

// wait returns when the entry is decided, or when waiting has lasted too long:
// Raft itself knows no deadline once it has taken an entry.
func (p *proposer) wait(ctx context.Context, e entryInFlight) error {
	decided := make(chan error, 1)
	go func() { decided <- e.apply.Error() }()
	deadline := time.NewTimer(p.timeout)
	defer deadline.Stop()
	select {
	case err := <-decided:
		return err
	case <-deadline.C:
		return fmt.Errorf("no majority has confirmed it within %v", p.timeout)
	case <-ctx.Done():
		return ErrClosed
	}
}

func refuse(b batch, err error) {
	for i := range b.commands {
		b.commands[i].done(nil, err)
	}
}
