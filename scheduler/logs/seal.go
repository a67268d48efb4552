package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// complete notes that this node has the whole log, which now goes to disk here;
// called with mu held, and followed by a feed that tells the peers where it ends.
func (t *term) complete(f *flow, fin *final) {
	if f.stage != growing {
		return
	}
	f.stage, f.final, f.end = whole, fin, fin.bytes
	t.appoint(f)
	t.unsynced = append(t.unsynced, f)
	poke(t.wakeSync)
}

// syncLoop makes whole logs durable, all that wait with one sync.
func (t *term) syncLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.wakeSync:
		}
		t.mu.Lock()
		batch := t.unsynced
		t.unsynced = nil
		t.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if err := t.Disk.Sync(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			t.syncFailed(batch, err)
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			continue
		}
		t.propose(t.synced(batch))
	}
}

// syncFailed has the workers send again what may be gone.
func (t *term) syncFailed(batch []*flow, cause error) {
	t.Logger.Error("logs are not durable and are asked for again", "logs", len(batch), "error", cause)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range batch {
		if f.stage != whole {
			continue
		}
		if f.settled != nil {
			t.close(f, cause)
			continue
		}
		t.restart(f, t.stat(f.key).Size)
		if f.ship != nil {
			f.ship.ack(&pb.LogAck{Lease: f.lease, Want: f.end, Resend: true})
		}
	}
}

func (t *term) synced(batch []*flow) (ready []*flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range batch {
		if f.stage == whole {
			f.stage = durable
			ready = t.consider(f, ready)
		}
	}
	return ready
}

// consider adds the flow to ready if a majority has all of it on disk; called
// with mu held. Whoever calls it then proposes what is ready, without mu.
func (t *term) consider(f *flow, ready []*flow) []*flow {
	if f.stage != durable {
		return ready
	}
	have := 1
	for i := range f.copies {
		if f.copies[i].whole {
			have++
		}
	}
	if have < t.quorum {
		return ready
	}
	f.stage = proposed
	return append(ready, f)
}

// propose tells the cluster what is complete and where. Many commands share an
// entry, so each is proposed by itself.
func (t *term) propose(ready []*flow) {
	if len(ready) == 0 {
		return
	}
	commands := make([]*pb.Command, len(ready))
	t.mu.Lock()
	for i, f := range ready {
		commands[i] = t.sealCommand(f)
	}
	t.mu.Unlock()
	for i, f := range ready {
		t.Store.ProposeAsync(commands[i], func(_ fsm.Result, err error) { t.sealed(f, err) })
	}
}

// sealCommand is called with mu held.
func (t *term) sealCommand(f *flow) *pb.Command {
	holders := f.holders(t.Self)
	slices.Sort(holders)
	if f.settled != nil {
		return &pb.Command{Op: &pb.Command_MoveLog{MoveLog: &pb.MoveLog{
			Job: f.key.Job, Attempt: f.key.Attempt, Holders: holders,
		}}}
	}
	return &pb.Command{Op: &pb.Command_SealLog{SealLog: &pb.SealLog{
		Lease: f.lease, Holder: f.holder, Bytes: f.final.bytes, Sha256: f.final.digest[:], Holders: holders,
	}}}
}

// sealed takes the cluster's answer. It is called by whoever commits, and is
// quick.
func (t *term) sealed(f *flow, err error) {
	var refusal *fsm.Refusal
	if err != nil && !errors.As(err, &refusal) {
		t.unsealed(f, err)
		return
	}
	t.mu.Lock()
	ship := f.ship
	t.close(f, err)
	t.mu.Unlock()
	switch {
	case err == nil:
		t.metrics.sealed.Inc()
		t.metrics.sealLatency.Observe(time.Since(f.final.at).Seconds())
		if ship != nil {
			ship.ack(&pb.LogAck{Lease: f.lease, Sealed: true})
		}
	case ship != nil:
		ship.refuse(f.lease, "%v", refusal)
	}
}

// unsealed handles a proposal that was not committed, or not for sure: another
// try gives the same answer. When this node leads no more, the next leader does
// it all again.
func (t *term) unsealed(f *flow, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.settled != nil {
		t.close(f, err)
		return
	}
	if f.stage == proposed && (errors.Is(err, raftnode.ErrBusy) || errors.Is(err, raftnode.ErrUnknownOutcome)) {
		f.stage = durable // retarget tries again
	}
}

// sealedAs is the end that the state has of a sealed log.
func sealedAs(log *pb.LogInfo) (*final, error) {
	fin := &final{bytes: log.GetBytes(), at: time.Now()}
	if copy(fin.digest[:], log.GetSha256()) != len(logstore.Digest{}) {
		return nil, fmt.Errorf("a digest of %d bytes", len(log.GetSha256()))
	}
	return fin, nil
}
