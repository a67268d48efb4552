package disk

import (
	"errors"
	"fmt"
	"time"
)

// repairPause is how long at least lies between two attempts.
const repairPause = time.Second

var errRolledBack = errors.New("an earlier sync failed: what was not durable was taken back, append it again")

// ready repairs the store if a flush has failed.
func (s *Store) ready() error {
	if !s.writer.failed.Load() {
		return nil
	}
	s.writer.mu.Lock()
	err := s.writer.usable()
	s.writer.mu.Unlock()
	if err == nil {
		return nil
	}
	return s.repair(err)
}

// repair goes back to what was durable when a flush failed, and reads all of it
// again. It returns cause when it is too early for another attempt.
func (s *Store) repair(cause error) error {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		defer s.shards[i].mu.Unlock()
	}
	w := s.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.broken == nil {
		return w.usable() // somebody else was quicker
	}
	if time.Since(w.tried) < repairPause {
		return cause
	}
	w.tried = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reload(); err != nil {
		return fmt.Errorf("%w (after: %w)", err, w.broken)
	}
	s.opts.Logger.Warn("log store went back to what was durable", "after", w.broken)
	w.broken, w.dirty, w.newDir = nil, nil, false
	w.failed.Store(false)
	for i := range s.shards {
		s.shards[i].digests = nil
	}
	s.watchers.wakeAll()
	return nil
}

// reload needs every lock.
func (s *Store) reload() error {
	for _, g := range s.ix.segs {
		if g.durable >= g.size {
			continue
		}
		if g.durable < preambleSize {
			if err := g.remove(); err != nil {
				return err
			}
			delete(s.ix.segs, g.id)
			g.retire()
			continue
		}
		if err := errors.Join(g.f.Truncate(g.durable), g.f.Datasync()); err != nil {
			return diskError("truncate segment "+g.path, err)
		}
		g.size = g.durable
	}
	ix, active, err := load(s.opts.open, s.opts.Dir, s.opts.Logger)
	if err != nil {
		return err
	}
	s.ix.retire()
	s.ix, s.writer.active = ix, active
	return nil
}
