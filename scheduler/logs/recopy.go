package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

const (
	recopyAtOnce  = 16
	recopyTimeout = time.Minute // for one log, beyond what its size takes
)

// shortage is a sealed log whose record names too few members.
type shortage struct {
	sealedLog
	have   []raftnode.NodeID // that have all of it
	enough bool              // and are a majority: only the record is wrong
}

// recopy brings logs to a majority of the members, at the service's pace, and
// returns how many it did not.
func (t *term) recopy(ctx context.Context, logs []shortage) (left int) {
	var failed atomic.Int64
	var g errgroup.Group
	g.SetLimit(recopyAtOnce)
	for _, l := range logs {
		g.Go(func() error {
			err := t.recopyOne(ctx, l)
			if err != nil && ctx.Err() == nil {
				failed.Add(1)
				t.Logger.Debug("sealed log not copied again", "job", l.key.Job, "attempt", l.key.Attempt, "error", err)
			}
			return nil
		})
		if !l.enough {
			d := time.Duration(l.log.Bytes) * time.Second / time.Duration(t.Pace)
			if pause(ctx, d) != nil {
				break
			}
		}
	}
	_ = g.Wait() // each failure is counted
	return int(failed.Load())
}

func (t *term) recopyOne(ctx context.Context, l shortage) error {
	if l.enough {
		return t.move(ctx, l)
	}
	if err := t.obtain(ctx, l); err != nil {
		return err
	}
	timeout := recopyTimeout + time.Duration(l.log.Bytes)*time.Second/time.Duration(t.Pace)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f, err := t.spread(l)
	if err != nil {
		return err
	}
	select {
	case err := <-f.settled:
		if err == nil {
			t.metrics.recopied.Inc()
		}
		return err
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		t.close(f, context.Cause(ctx))
		return context.Cause(ctx)
	}
}

// move records the members that have the log.
func (t *term) move(ctx context.Context, l shortage) error {
	holders := make([]string, len(l.have))
	for i, id := range l.have {
		holders[i] = string(id)
	}
	slices.Sort(holders)
	_, err := t.Store.Propose(ctx, &pb.Command{Op: &pb.Command_MoveLog{MoveLog: &pb.MoveLog{
		Job: l.key.Job, Attempt: l.key.Attempt, Holders: holders,
	}}})
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok {
		t.Logger.Debug("log not moved", "job", l.key.Job, "attempt", l.key.Attempt, "why", refusal)
		return nil
	}
	return err
}

// obtain fetches the whole log to this node.
func (t *term) obtain(ctx context.Context, l shortage) error {
	if t.whole(l.key, l.log) {
		return nil
	}
	fin, err := sealedAs(l.log)
	if err != nil {
		return err
	}
	if info := t.stat(l.key); info.Damaged || info.Expired || info.Size > l.log.Bytes || info.Sealed {
		if err := t.Disk.Drop(l.key); err != nil {
			return err
		}
	}
	var errs []error
	for _, id := range l.have {
		if _, err := t.fetch(ctx, l.key, id); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := t.Disk.Seal(l.key, fin.bytes, fin.digest); err != nil {
			errs = append(errs, err, t.Disk.Drop(l.key))
			continue
		}
		return nil
	}
	return fmt.Errorf("no node gives the whole %s: %w", logName(l.key), errors.Join(errs...))
}

// spread sends the log to the peers as if its worker had just ended it.
func (t *term) spread(l shortage) (*flow, error) {
	fin, err := sealedAs(l.log)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.flows[l.key]; old != nil {
		if old.settled != nil || old.ship != nil {
			return nil, fmt.Errorf("the %s is under way", logName(l.key))
		}
		t.close(old, nil) // a reader's
	}
	f := &flow{
		key: l.key, end: fin.bytes, final: fin, stage: whole,
		placed: closedChannel, settled: make(chan error, 1),
	}
	for _, r := range t.peers {
		f.copies = append(f.copies, replica{to: r, sent: unknown})
	}
	t.flows[f.key] = f
	t.unsynced = append(t.unsynced, f)
	t.feed(f)
	poke(t.wakeSync)
	return f, nil
}
