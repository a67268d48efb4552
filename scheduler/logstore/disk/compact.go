package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// move is a record that was copied forward.
type move struct {
	record
	from, to place
}

// reclaim removes segments that nothing needs, and copies what is needed out of
// those that are mostly dead; out of others as well while the budget is exceeded.
func (s *Store) reclaim(ctx context.Context) error {
	if err := s.Sync(ctx); err != nil { // what made them dead must be durable first
		return err
	}
	if err := s.removeEmpty(); err != nil {
		return err
	}
	for _, g := range s.mostlyDead() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if g.gone.Load() {
			continue
		}
		if err := s.compact(ctx, g); err != nil {
			return fmt.Errorf("compact segment %s: %w", g.path, err)
		}
		if err := s.removeEmpty(); err != nil {
			return err
		}
	}
	return nil
}

// mostlyDead lists closed segments that are worth copying, those that give back
// the most first.
func (s *Store) mostlyDead() []*segment {
	u := s.Usage()
	segs := s.closedSegments()
	s.mu.RLock()
	defer s.mu.RUnlock()
	dead := func(g *segment) int64 { return g.size - g.live - int64(len(g.tombs))*headerSize }
	slices.SortStableFunc(segs, func(a, b *segment) int { return cmp.Compare(dead(b), dead(a)) })
	excess := u.DiskBytes - u.BudgetBytes
	return slices.DeleteFunc(segs, func(g *segment) bool {
		worth := dead(g) >= g.size/2 || excess > 0 && dead(g) >= g.size/10
		if worth {
			excess -= dead(g)
		}
		return !worth
	})
}

// removeEmpty deletes segments that hold nothing needed. Each one that goes may
// make drops in others pointless.
func (s *Store) removeEmpty() error {
	for again := true; again; {
		again = false
		for _, g := range s.closedSegments() {
			if !s.empty(g) {
				continue
			}
			if err := g.remove(); err != nil {
				return err
			}
			s.discard(g)
			again = true
		}
	}
	return nil
}

// empty reports whether a closed, durable segment is needed for nothing, and
// forgets drops that are not needed any more.
func (s *Store) empty(g *segment) bool {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ix.segs[g.id] != g || g.live > 0 || g.durable < g.size {
		return false
	}
	s.ix.pruneTombs(g)
	return len(g.tombs) == 0
}

func (s *Store) discard(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ix.segs[g.id] == g {
		delete(s.ix.segs, g.id)
		delete(s.ix.stale, g.id)
	}
	g.retire()
}

// compact copies what is needed of a segment to the active one and, once that
// is durable, lets go of the original.
func (s *Store) compact(ctx context.Context, g *segment) error {
	records, err := s.list(g)
	if err != nil {
		return err
	}
	s.beginCopying(g)
	moves, err := s.copyRecords(ctx, g, records)
	tombs, e := s.copyTombs(g)
	if err = errors.Join(err, e); err == nil {
		err = s.Sync(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copying = false
	if err != nil { // copies that the index will not know
		for _, m := range moves {
			s.ix.stale[m.to.seg] = struct{}{}
		}
		return err
	}
	for _, m := range moves {
		s.ix.moved(m)
	}
	s.ix.movedTombs(g, tombs)
	return nil
}

// beginCopying makes drops from now on reach also the records of g, whose
// copies the index will point to, and the copies themselves.
func (s *Store) beginCopying(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copying = true
	s.ix.stale[g.id] = struct{}{}
}

func (s *Store) list(g *segment) ([]found, error) {
	_, records, _, err := readSidecar(sidecarPath(g.path), g.size)
	if !errors.Is(err, errNoSidecar) {
		return records, err
	}
	res, err := scan(g, g.size)
	return res.records, err
}

func (s *Store) copyRecords(ctx context.Context, g *segment, records []found) ([]move, error) {
	var moves []move
	for _, r := range records {
		if ctx.Err() != nil {
			return moves, ctx.Err()
		}
		m, ok, err := s.copyForward(g, r)
		if err != nil {
			return moves, err
		}
		if ok {
			moves = append(moves, m)
			s.metrics.copiedBytes(m.size())
		}
	}
	return moves, nil
}

// copyForward writes a record again if it is needed. The log's shard is held
// over both steps, so that a drop comes entirely before or after.
func (s *Store) copyForward(g *segment, r found) (m move, ok bool, err error) {
	sh := s.shard(r.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	m = move{record: r.record, from: place{g.id, r.pos}}
	if !s.holds(m) {
		return m, false, nil
	}
	data, err := s.read(located{r.record, g, r.pos})
	if errors.Is(err, logstore.ErrDamaged) {
		return m, false, nil // the log is marked now; the segment stays until it is dropped
	}
	if err != nil {
		return m, false, err
	}
	m.to, err = s.writer.write(frame{r.record, data})
	return m, err == nil, err
}

func (s *Store) holds(m move) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ix.holds(m)
}

// copyTombs writes again the drops that are still needed.
func (s *Store) copyTombs(g *segment) ([]move, error) {
	var moves []move
	for _, t := range s.neededTombs(g) {
		m := move{record: record{kind: kindDrop, key: t.key, gen: t.gen}, from: place{g.id, t.pos}}
		var err error
		if m.to, err = s.writer.write(frame{record: m.record}); err != nil {
			return moves, err
		}
		moves = append(moves, m)
	}
	return moves, nil
}

func (s *Store) neededTombs(g *segment) []tomb {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ix.pruneTombs(g)
	return slices.Clone(g.tombs)
}
