package auth

import (
	"context"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/scheduler/state"
)

// Run ends the streams of capabilities as they are revoked, until ctx ends. It
// calls also with the id of each, after that. It writes down how often refusals
// were repeated, too.
func (g *Guard) Run(ctx context.Context, store *state.Store, also func(capability string)) error {
	sub := store.Subscribe("revocations", fsm.CapabilityRevoked)
	defer sub.Close()
	counts := time.NewTicker(paceWindow / 6)
	defer counts.Stop()
	defer g.tellMore(time.Time{})
	var events []fsm.Event
	for {
		select {
		case <-sub.Ready():
		case now := <-counts.C:
			g.tellMore(now)
			continue
		case <-ctx.Done():
			return nil
		}
		var lost bool
		if events, lost = sub.Take(events); lost {
			g.Sweep()
		}
		for _, e := range events {
			g.Revoked(e.Capability)
			also(e.Capability)
		}
	}
}
