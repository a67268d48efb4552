package bench

import (
	"context"
	"sync"

	"github.com/weirbuild/weir/proto/pb/benchpb"
)

// batcher gathers what was committed until its reader takes it.
type batcher struct {
	wake chan struct{}

	mu   sync.Mutex
	next *benchpb.Committed
}

func newBatcher() *batcher {
	return &batcher{wake: make(chan struct{}, 1), next: &benchpb.Committed{}}
}

func (b *batcher) add(seq uint64, err error) {
	b.mu.Lock()
	b.next.Seqs = append(b.next.Seqs, seq)
	if err != nil {
		b.next.Error = err.Error()
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *batcher) take(ctx context.Context) (*benchpb.Committed, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-b.wake:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.next
	b.next = &benchpb.Committed{}
	return taken, nil
}
