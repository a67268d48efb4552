package logs

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// Run does every node's part until ctx ends: it wakes readers when the state
// says something new, and drops logs that the state has forgotten.
func (s *Service) Run(ctx context.Context) error {
	sub := s.Store.Subscribe("logs", fsm.LeaseGranted, fsm.AttemptEnded, fsm.JobSettled,
		fsm.LogSealed, fsm.LogMoved, fsm.LogExpired, fsm.JobTrimmed)
	defer sub.Close()
	sweep := time.NewTicker(s.every.sweep)
	defer sweep.Stop()
	pieces := s.sweep(nil)
	var buf []fsm.Event
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-sweep.C:
			pieces = s.sweep(pieces)
		case <-sub.Ready():
			events, lost := sub.Take(buf)
			buf = events
			if lost {
				s.hub.all()
				pieces = s.sweep(pieces)
				continue
			}
			s.heed(events)
		}
	}
}

// heed wakes readers and drops the logs of trimmed jobs.
func (s *Service) heed(events []fsm.Event) {
	var trimmed []logstore.Key
	for i := range events {
		s.hub.job(uint64(events[i].Job))
		if events[i].Kind == fsm.JobTrimmed {
			trimmed = s.keysOf(trimmed, events[i].Job)
		}
	}
	s.drop(trimmed)
}

// keysOf adds the logs that this node has of a job. Which attempts it had is
// forgotten with it; few have more than the first, and the sweep finds the rest.
func (s *Service) keysOf(keys []logstore.Key, job fsm.JobID) []logstore.Key {
	for no, misses := fsm.AttemptNo(1), 0; misses < 3; no++ {
		k := keyOf(job, no)
		if _, ok := s.Disk.Stat(k); !ok {
			misses++
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

func (s *Service) drop(keys []logstore.Key) {
	if len(keys) == 0 {
		return
	}
	if err := s.Disk.Drop(keys...); err != nil && !errors.Is(err, logstore.ErrClosed) {
		s.Logger.Warn("logs not dropped; the next sweep tries again", "logs", len(keys), "error", err)
	}
}

// pieces are incomplete logs that were sealed without this node, and their sizes.
type pieces map[logstore.Key]int64

// sweep drops what nobody wants: logs of forgotten jobs and attempts, expired
// ones, and pieces of logs that were sealed without this node, if they have not
// grown since the last sweep: a growing one is being copied. It returns the
// pieces that are left.
func (s *Service) sweep(last pieces) (left pieces) {
	type stored struct {
		key  logstore.Key
		info logstore.Info
	}
	var all []stored
	for k, info := range s.Disk.Keys() {
		all = append(all, stored{k, info})
	}
	left = make(pieces)
	for some := range slices.Chunk(all, scanPage) {
		var idle []logstore.Key
		s.Store.View(func(st *fsm.State) {
			for _, l := range some {
				size, seen := last[l.key]
				switch unwanted, piece := s.judge(st, l.key, l.info); {
				case unwanted, piece && seen && size == l.info.Size:
					idle = append(idle, l.key)
				case piece:
					left[l.key] = l.info.Size
				}
			}
		})
		s.drop(idle)
	}
	return left
}

// judge goes by what stays true: a job that this node has not heard of may just
// be new.
func (s *Service) judge(st *fsm.State, k logstore.Key, info logstore.Info) (unwanted, piece bool) {
	j, err := st.Job(fsm.JobID(k.Job))
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok {
		return refusal.Kind == fsm.Expired, false
	}
	a, ok := j.Attempt(fsm.AttemptNo(k.Attempt))
	if !ok {
		return j.Last() != nil && fsm.AttemptNo(k.Attempt) < j.Last().No, false
	}
	if a.Log == nil {
		return false, false
	}
	whole := info.Sealed || info.Expired
	return a.Log.Expired, !whole && !slices.Contains(a.Log.Holders, string(s.Self))
}
