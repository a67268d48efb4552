package bench

import (
	"context"
	"sync"
)

// mail is what waits to be sent on one stream. Its reader takes all of it.
type mail[T any] struct {
	wake chan struct{}

	mu    sync.Mutex
	items []T
}

func newMail[T any]() *mail[T] { return &mail[T]{wake: make(chan struct{}, 1)} }

func (m *mail[T]) add(item T) {
	m.mu.Lock()
	m.items = append(m.items, item)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take waits until there is something.
func (m *mail[T]) take(ctx context.Context) ([]T, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.wake:
		}
		m.mu.Lock()
		all := m.items
		m.items = nil
		m.mu.Unlock()
		if len(all) > 0 {
			return all, nil
		}
	}
}
