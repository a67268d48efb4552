package lead

import (
	"context"
	"sync"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// tellLevel is the feature level from which what the leader sees is put among the
// cluster's events.
const tellLevel = 4

// maxTold is how many happenings wait to be told; more are dropped.
const maxTold = 1 << 16

// teller puts what only the leader sees into the log, in order, many at a time.
type teller struct {
	wake chan struct{}

	mu      sync.Mutex
	waiting []*pb.Happening
}

func newTeller() teller { return teller{wake: make(chan struct{}, 1)} }

// add never waits.
func (t *teller) add(h *pb.Happening) {
	t.mu.Lock()
	if len(t.waiting) < maxTold {
		t.waiting = append(t.waiting, h)
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *teller) take() []*pb.Happening {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch := t.waiting[:min(len(t.waiting), fsm.MaxHappenings)]
	t.waiting = t.waiting[len(batch):]
	return batch
}

// worker tells of a worker whose session has begun or is over.
func (t *teller) worker(kind pb.HappeningKind, s *session) {
	t.add(&pb.Happening{Kind: kind, Pool: s.pool.name, Worker: s.name})
}

// tell tells until ctx ends. What cannot be told is lost with the office: the next
// leader tells that it leads, and of every worker that comes to it.
func (t *term) tell(ctx context.Context) error {
	t.told.add(&pb.Happening{Kind: pb.HappeningKind_HAPPENING_LEADER_CHANGED, Message: t.store.Node().Name()})
	for {
		select {
		case <-t.told.wake:
		case <-ctx.Done():
			return nil
		}
		level := uint32(0)
		t.store.View(func(s *fsm.State) { level = s.FeatureLevel() })
		for batch := t.told.take(); len(batch) > 0; batch = t.told.take() {
			if level < tellLevel {
				continue
			}
			c := &pb.Command{MinLevel: tellLevel, Op: &pb.Command_Tell{Tell: &pb.Tell{Happenings: batch}}}
			if _, err := t.store.Propose(ctx, c); err != nil && ctx.Err() == nil {
				t.log.Debug("events not told", "events", len(batch), "error", err)
			}
		}
	}
}
