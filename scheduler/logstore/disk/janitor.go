package disk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weirbuild/weir/scheduler/logstore"
)

const (
	// tidyPause is how long Run rests at least between rounds, and tidyEvery how
	// long at most.
	tidyPause = time.Second
	tidyEvery = time.Minute

	// sealedOverhead is what a small sealed log takes beside its bytes: two
	// records, the digest, and two lines in the sidecar.
	sealedOverhead = 2*headerSize + 32 + 2*sidecarEntry
)

// Run keeps the store within its budget and reclaims space, until ctx ends. What
// goes wrong is logged and tried again.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.work:
		case <-timer.C:
		}
		if err := s.Tidy(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("tidy log store", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tidyPause):
		}
		timer.Reset(tidyEvery)
	}
}

// Tidy does one round of what Run does: it writes the indexes of closed
// segments, expires the oldest sealed logs if the budget is exceeded, and
// removes or empties segments that hold little that is needed.
func (s *Store) Tidy(ctx context.Context) error {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.writeSidecars(ctx); err != nil {
		return err
	}
	gone, err := s.evict(ctx)
	if len(gone) > 0 {
		s.opts.Logger.Info("expired the oldest logs to keep the byte budget", "logs", len(gone))
		if s.opts.OnExpire != nil {
			s.opts.OnExpire(gone)
		}
	}
	if err != nil {
		return err
	}
	return s.reclaim(ctx)
}

// writeSidecars makes the indexes of segments that are closed and durable.
func (s *Store) writeSidecars(ctx context.Context) error {
	for _, g := range s.closedSegments() {
		size, ok := s.settled(g)
		if !ok || ctx.Err() != nil {
			continue
		}
		n, err := writeSidecar(g, size)
		if err != nil {
			return err
		}
		s.mu.Lock()
		g.sidecar = n
		s.mu.Unlock()
	}
	return ctx.Err()
}

// settled reports whether a closed segment lacks only its sidecar.
func (s *Store) settled(g *segment) (size int64, ok bool) {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return g.size, g.sidecar == 0 && g.durable == g.size && !g.gone.Load()
}

// closedSegments returns them in order of age.
func (s *Store) closedSegments() []*segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*segment
	for _, g := range s.ix.segs {
		if g.closed {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	return out
}

// evict expires sealed logs, oldest first, until what is needed fits the budget
// with room to spare, so that it happens rarely.
func (s *Store) evict(ctx context.Context) (gone []logstore.Key, err error) {
	u := s.Usage()
	if u.DiskBytes <= u.BudgetBytes {
		return nil, nil
	}
	excess := u.LiveBytes - (u.BudgetBytes - max(u.BudgetBytes/10, 2*s.opts.SegmentBytes))
	for _, c := range s.sealedByAge() {
		if excess <= 0 || ctx.Err() != nil {
			break
		}
		if err := s.expire(c.key, c.gen); err != nil {
			return gone, fmt.Errorf("expire log %v: %w", c.key, err)
		}
		excess -= c.size
		gone = append(gone, c.key)
		s.watchers.wake(c.key)
	}
	s.metrics.expired(len(gone))
	return gone, ctx.Err()
}

type candidate struct {
	key  logstore.Key
	gen  uint64
	size int64
}

// sealedByAge lists sealed logs in the order in which they began.
func (s *Store) sealedByAge() []candidate {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []candidate
	for k, e := range s.ix.logs {
		if e.sealed() {
			all = append(all, candidate{k, e.gen, e.size + sealedOverhead})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(a.gen, b.gen) })
	return all
}

// expire removes a sealed log and remembers that.
func (s *Store) expire(k logstore.Key, gen uint64) error {
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if now, ok := s.lastGeneration(k); !ok || now != gen {
		return nil // dropped meanwhile
	}
	at, err := s.writer.write(frame{record: record{kind: kindExpire, key: k, gen: gen}})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := expiry{gen: gen, at: at}
	x.lo, x.hi = s.ix.forget(k, s.ix.logs[k])
	s.ix.expired[k] = x
	s.ix.need(at, headerSize)
	return nil
}
