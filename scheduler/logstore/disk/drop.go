package disk

import (
	"fmt"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// Drop implements [logstore.Store].
func (s *Store) Drop(keys ...logstore.Key) error {
	if err := s.ready(); err != nil {
		return fmt.Errorf("drop logs: %w", err)
	}
	defer wake(s.work)
	for _, k := range keys {
		if err := s.drop(k); err != nil {
			return fmt.Errorf("drop log %v: %w", k, err)
		}
		s.watchers.wake(k)
	}
	return nil
}

func (s *Store) drop(k logstore.Key) error {
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	gen, ok := s.lastGeneration(k)
	if !ok {
		return nil
	}
	at, err := s.writer.write(frame{record: record{kind: kindDrop, key: k, gen: gen}})
	if err != nil {
		return err
	}
	delete(sh.digests, k)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tomb{key: k, gen: gen, pos: at.pos}
	if e := s.ix.logs[k]; e != nil {
		t.lo, t.hi = s.ix.forget(k, e)
	}
	if x, ok := s.ix.expired[k]; ok {
		s.ix.need(x.at, -headerSize)
		t.lo, t.hi = widen(t.lo, t.hi, x.lo)
		t.lo, t.hi = widen(t.lo, t.hi, x.hi)
		t.lo, t.hi = widen(t.lo, t.hi, x.at.seg)
		delete(s.ix.expired, k)
	}
	s.ix.bury(t, at.seg, s.copying)
	return nil
}

func (s *Store) lastGeneration(k logstore.Key) (uint64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.ix.logs[k]; e != nil {
		return e.gen, true
	}
	x, ok := s.ix.expired[k]
	return x.gen, ok
}
