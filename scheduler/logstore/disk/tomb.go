package disk

import (
	"slices"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// tomb is a drop that must be remembered while a segment from lo to hi, other
// than its own, may still hold records that it voids: else they would be taken
// for a log when the store is opened again.
type tomb struct {
	key    logstore.Key
	gen    uint64
	pos    uint32
	lo, hi segmentID
}

// bury keeps a drop that was written to seg for as long as it is needed. Where
// records were copied there may be some that the index does not know.
func (ix *index) bury(t tomb, seg segmentID, copying bool) {
	if copying {
		t.lo, t.hi = widen(t.lo, t.hi, seg)
	}
	for id := range ix.stale {
		t.lo, t.hi = widen(t.lo, t.hi, id)
	}
	if ix.stillNeeded(t, seg) {
		ix.segs[seg].tombs = append(ix.segs[seg].tombs, t)
	}
}

// pruneTombs forgets the drops in a segment that are not needed any more.
func (ix *index) pruneTombs(g *segment) {
	g.tombs = slices.DeleteFunc(g.tombs, func(t tomb) bool { return !ix.stillNeeded(t, g.id) })
}

// widen extends a range of segments; 0 to 0 is the empty one.
func widen(lo, hi, id segmentID) (segmentID, segmentID) {
	if id == 0 {
		return lo, hi
	}
	if lo == 0 {
		return id, id
	}
	return min(lo, id), max(hi, id)
}

// stillNeeded reports whether a segment may hold what the tomb voids.
func (ix *index) stillNeeded(t tomb, own segmentID) bool {
	if t.lo == 0 {
		return false
	}
	if int(t.hi-t.lo) < len(ix.segs) {
		for id := t.lo; id <= t.hi; id++ {
			if ix.segs[id] != nil && id != own {
				return true
			}
		}
		return false
	}
	for id := range ix.segs {
		if t.lo <= id && id <= t.hi && id != own {
			return true
		}
	}
	return false
}

// holds reports whether a record is what the index knows, at m.from. Drops are
// not asked about: a segment lists its own.
func (ix *index) holds(m move) bool {
	switch e := ix.logs[m.key]; m.kind {
	case kindData:
		if e == nil || e.gen != m.gen {
			return false
		}
		p, ok := e.find(m.off)
		return ok && p.off == m.off && p.at == m.from
	case kindSeal:
		return e != nil && e.gen == m.gen && e.seal == m.from
	case kindExpire:
		x, ok := ix.expired[m.key]
		return ok && x.at == m.from
	default:
		return false
	}
}

// moved points the index to a durable copy, unless the record is not needed now.
func (ix *index) moved(m move) {
	if !ix.holds(m) {
		return
	}
	switch m.kind {
	case kindData:
		ix.logs[m.key].move(m.off, m.from, m.to)
	case kindSeal:
		ix.logs[m.key].seal = m.to
	case kindExpire:
		x := ix.expired[m.key]
		x.lo, x.hi = widen(x.lo, x.hi, m.from.seg)
		x.at = m.to
		ix.expired[m.key] = x
	}
	ix.need(m.from, -m.size())
	ix.need(m.to, m.size())
}

// movedTombs hands the drops of a segment over to the copies of them.
func (ix *index) movedTombs(g *segment, moves []move) {
	to := make(map[uint32]place, len(moves))
	for _, m := range moves {
		to[m.from.pos] = m.to
	}
	g.tombs = slices.DeleteFunc(g.tombs, func(t tomb) bool {
		at, ok := to[t.pos]
		if dst := ix.segs[at.seg]; ok && dst != nil {
			t.pos = at.pos
			dst.tombs = append(dst.tombs, t)
			return true
		}
		return false
	})
}
