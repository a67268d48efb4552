package lead

import (
	"context"
	"slices"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

const (
	// trimEvery is how often retention is looked at when it has nothing to do.
	trimEvery = 5 * time.Second
	// trimBatch is how many jobs go with one command, and trimRest how much longer
	// than the command itself the pause after it is, so that commits hardly wait.
	trimBatch = 500
	trimRest  = 3
	minRest   = 10 * time.Millisecond
)

// retain removes finished jobs that their pools do not keep any longer.
func (t *term) retain(ctx context.Context) error {
	timer := time.NewTimer(trimEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		timer.Reset(t.trim(ctx))
	}
}

// trim removes one batch, and returns the pause until the next.
func (t *term) trim(ctx context.Context) time.Duration {
	now := t.store.Now()
	var ids []uint64
	t.store.View(func(s *fsm.State) {
		for _, pool := range slices.Collect(s.RetentionPools()) {
			for _, id := range s.Trimmable(now, pool, trimBatch-len(ids)) {
				ids = append(ids, uint64(id))
			}
			if len(ids) == trimBatch {
				return
			}
		}
	})
	if len(ids) == 0 {
		return trimEvery
	}
	begun := time.Now()
	_, err := t.store.Propose(ctx, &pb.Command{Op: &pb.Command_Trim{Trim: &pb.Trim{Jobs: ids}}})
	if err != nil {
		t.log.Debug("finished jobs not trimmed", "error", err)
		return trimEvery
	}
	t.metrics.trimmed.Add(float64(len(ids)))
	return max(trimRest*time.Since(begun), minRest)
}
