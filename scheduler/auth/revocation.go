package auth

import (
	"context"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/scheduler/state"
)

// Run ends the streams of capabilities as they are revoked, until ctx ends. It
// calls also with the id of each, after that.
func (g *Guard) Run(ctx context.Context, store *state.Store, also func(capability string)) error {
	sub := store.Subscribe("revocations", fsm.CapabilityRevoked)
	defer sub.Close()
	var events []fsm.Event
	for {
		select {
		case <-sub.Ready():
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
