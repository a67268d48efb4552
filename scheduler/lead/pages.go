package lead

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

const (
	pageTime     = 8 * time.Second // for a worker's answer; Prometheus waits 10 s
	maxPages     = 16              // asked of one worker and not answered
	maxPageBytes = 1 << 20         // packed
)

// pages are the questions for a worker's metrics that wait for an answer.
type pages struct {
	mu      sync.Mutex
	nonce   uint64
	waiting map[uint64]chan *pb.Page
}

func (p *pages) ask() (nonce uint64, answer <-chan *pb.Page, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) >= maxPages {
		return 0, nil, false
	}
	if p.waiting == nil {
		p.waiting = map[uint64]chan *pb.Page{}
	}
	p.nonce++
	c := make(chan *pb.Page, 1)
	p.waiting[p.nonce] = c
	return p.nonce, c, true
}

func (p *pages) forget(nonce uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, nonce)
}

// answer takes in a page; one that nobody waits for any more is dropped.
func (p *pages) answer(page *pb.Page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.waiting[page.Nonce]; ok {
		delete(p.waiting, page.Nonce)
		c <- page
	}
}

// Page fetches a page of metrics, gzipped, from a worker over its session.
func (l *Leader) Page(ctx context.Context, poolName, worker, page string) ([]byte, error) {
	t, err := l.current()
	if err != nil {
		return nil, err
	}
	s, why := t.sessionOf(poolName, worker)
	if s == nil {
		return nil, &fsm.Refusal{Kind: fsm.NotFound, Message: why}
	}
	nonce, answer, ok := s.pages.ask()
	if !ok {
		return nil, &fsm.Refusal{Kind: fsm.Full, Message: fmt.Sprintf("worker %s of pool %s owes %d pages: scrape it less often", worker, poolName, maxPages)}
	}
	defer s.pages.forget(nonce)
	s.check(s.out.page(&pb.PageRequest{Nonce: nonce, Name: page}))
	timer := time.NewTimer(pageTime)
	defer timer.Stop()
	select {
	case p := <-answer:
		switch {
		case p.Error != "":
			return nil, &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("worker %s of pool %s: %s", worker, poolName, p.Error)}
		case len(p.Gzip) > maxPageBytes:
			return nil, &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf("worker %s of pool %s sent a page of %d bytes; at most %d", worker, poolName, len(p.Gzip), maxPageBytes)}
		}
		return p.Gzip, nil
	case <-timer.C:
		return nil, fmt.Errorf("worker %s of pool %s did not send page %s within %v", worker, poolName, page, pageTime)
	case <-s.ctx.Done():
		return nil, fmt.Errorf("the session of worker %s of pool %s ended: %w", worker, poolName, context.Cause(s.ctx))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
