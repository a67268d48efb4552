package disk

import (
	"cmp"
	"slices"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// piece is a record of a log's bytes.
type piece struct {
	off    int64
	at     place
	size   uint32
	packed uint32 // bytes on disk, if it is packed; else 0
}

// record is the header that a piece of a log has, but for its checksum.
func (p piece) record(kind kind, k logstore.Key, gen uint64) record {
	r := record{kind: kind, key: k, gen: gen, off: p.off, length: p.size}
	if p.packed > 0 {
		r.plain, r.length = p.size, p.packed
	}
	return r
}

func pieceOf(r record, at place) piece {
	p := piece{off: r.off, at: at, size: r.bytes()}
	if r.plain > 0 {
		p.packed = r.length
	}
	return p
}

// stored is how many bytes a piece has on disk, with its header.
func (p piece) stored() int64 { return p.record(kindData, logstore.Key{}, 0).size() }

func (p piece) end() int64 { return p.off + int64(p.size) }

// entry is a stored log. There may be millions: most are small, sealed, and have
// one piece, which is why that one is spread over the entry.
type entry struct {
	gen     uint64
	size    int64
	seal    place // nowhere: not sealed
	more    *[]piece
	first   place // of the piece at offset 0
	length  uint32
	packed  uint32 // of that piece
	damaged bool
}

func (e *entry) sealed() bool { return e.seal != place{} }

// find returns the piece that holds the byte at off; false when it is lost.
func (e *entry) find(off int64) (piece, bool) {
	p := e.head()
	if off >= p.end() && e.more != nil {
		i, exact := slices.BinarySearchFunc(*e.more, off, func(p piece, off int64) int { return cmp.Compare(p.off, off) })
		if !exact {
			i--
		}
		if i >= 0 {
			p = (*e.more)[i]
		}
	}
	return p, p.off <= off && off < p.end()
}

// head is the piece at offset 0.
func (e *entry) head() piece { return piece{0, e.first, e.length, e.packed} }

// add appends a piece.
func (e *entry) add(p piece) {
	switch {
	case p.off == 0:
		e.first, e.length, e.packed = p.at, p.size, p.packed
	case e.more == nil:
		e.more = &[]piece{p}
	default:
		*e.more = append(*e.more, p)
	}
}

// pieces calls yield for every piece in order.
func (e *entry) pieces(yield func(piece) bool) {
	if e.length > 0 && !yield(e.head()) {
		return
	}
	if e.more == nil {
		return
	}
	for _, p := range *e.more {
		if !yield(p) {
			return
		}
	}
}

// move changes where a record is; false when from is not where it was.
func (e *entry) move(off int64, from, to place) bool {
	if off == 0 && e.first == from {
		e.first = to
		return true
	}
	if e.more == nil {
		return false
	}
	i, ok := slices.BinarySearchFunc(*e.more, off, func(p piece, off int64) int { return cmp.Compare(p.off, off) })
	if !ok || (*e.more)[i].at != from {
		return false
	}
	(*e.more)[i].at = to
	return true
}

// expiry remembers a log that was removed to keep the budget.
type expiry struct {
	gen    uint64
	at     place
	lo, hi segmentID // where records that it voids may be
}

// index is everything that is known of the segments' contents. Store.mu guards
// it.
type index struct {
	logs     map[logstore.Key]*entry
	expired  map[logstore.Key]expiry
	segs     map[segmentID]*segment
	stale    map[segmentID]struct{} // may hold copies of records that are counted elsewhere
	unsealed int
	closed   bool // the store is
	nextGen  uint64
	nextSeg  segmentID

	// floors tells what was durable of a log before it was touched by what is
	// not synced yet: [0] is being synced now, [1] waits for the next sync.
	floors [2]map[logstore.Key]int64
}

func newIndex() *index {
	return &index{
		logs:    map[logstore.Key]*entry{},
		expired: map[logstore.Key]expiry{},
		segs:    map[segmentID]*segment{},
		stale:   map[segmentID]struct{}{},
		nextGen: 1,
		nextSeg: 1,
		floors:  [2]map[logstore.Key]int64{{}, {}},
	}
}

// touch notes that a log changes.
func (ix *index) touch(k logstore.Key, size int64) {
	if _, ok := ix.floors[1][k]; !ok {
		ix.floors[1][k] = size
	}
}

// durable returns how many bytes of a log of this size are on disk for certain.
func (ix *index) durable(k logstore.Key, size int64) int64 {
	for _, f := range ix.floors {
		if floor, ok := f[k]; ok {
			return floor
		}
	}
	return size
}

// need counts a record as needed (or, with a negative size, no longer).
func (ix *index) need(at place, size int64) {
	if g := ix.segs[at.seg]; g != nil {
		g.live += size
	}
}

func (ix *index) sealSize() int64 { return headerSize + int64(len(logstore.Digest{})) }

// forget removes a log and returns the segments between which its records are.
func (ix *index) forget(k logstore.Key, e *entry) (lo, hi segmentID) {
	span := func(at place, size int64) {
		ix.need(at, -size)
		lo, hi = widen(lo, hi, at.seg)
	}
	for p := range e.pieces {
		span(p.at, p.stored())
	}
	if e.sealed() {
		span(e.seal, ix.sealSize())
	} else {
		ix.unsealed--
	}
	delete(ix.logs, k)
	delete(ix.floors[0], k)
	delete(ix.floors[1], k)
	return lo, hi
}

func (ix *index) info(k logstore.Key) (logstore.Info, bool) {
	if e, ok := ix.logs[k]; ok {
		return logstore.Info{Size: e.size, Durable: ix.durable(k, e.size), Sealed: e.sealed(), Damaged: e.damaged}, true
	}
	if _, ok := ix.expired[k]; ok {
		return logstore.Info{Expired: true}, true
	}
	return logstore.Info{}, false
}

// appendable is Store.appendable.
func (ix *index) appendable(k logstore.Key) (end int64, sealed bool, err error) {
	info, _ := ix.info(k)
	switch {
	case info.Expired:
		return 0, false, logstore.ErrExpired
	case info.Damaged:
		return info.Size, info.Sealed, logstore.ErrDamaged
	}
	return info.Size, info.Sealed, nil
}

// generation is Store.generation.
func (ix *index) generation(k logstore.Key) uint64 {
	if e := ix.logs[k]; e != nil {
		return e.gen
	}
	ix.nextGen++
	return ix.nextGen - 1
}
