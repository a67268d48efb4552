package api

import (
	"context"
	"sync"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/scheduler/state"
)

// refreshEvery is how often the watcher of a waiting job hears of its place.
const refreshEvery = time.Second

// Run tells the watchers what happens, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	sub := s.Store.Subscribe("watches")
	defer sub.Close()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { s.watches.follow(ctx, sub) })
	parts.Go(func() { s.watches.keepFresh(ctx) })
	return nil
}

func (w *watches) follow(ctx context.Context, sub *state.Subscription) {
	var events []fsm.Event
	for {
		select {
		case <-sub.Ready():
		case <-ctx.Done():
			return
		}
		var lost bool
		if events, lost = sub.Take(events); lost {
			w.lost()
		}
		w.tell(events)
	}
}

// keepFresh wakes the watchers of waiting jobs once a second; while there are
// none it sleeps.
func (w *watches) keepFresh(ctx context.Context) {
	for {
		select {
		case <-w.some:
		case <-ctx.Done():
			return
		}
		w.tick(ctx)
	}
}

// tick refreshes until nobody waits.
func (w *watches) tick(ctx context.Context) {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if !w.refresh() {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
