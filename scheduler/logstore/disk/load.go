package disk

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// loader builds the index from what is on disk. Records are taken in any order
// of a log's offsets, since those that were copied forward come late.
type loader struct {
	open opener
	dir  string
	log  hclog.Logger
	ix   *index
	dead map[logstore.Key]*grave
}

// grave is the last drop or expiry of a key, and where what it voids was seen.
type grave struct {
	gen    uint64
	kind   kind
	at     place
	lo, hi segmentID
}

// load reads the directory and cuts off torn tails. It returns the segment to
// go on with, nil when there is none.
func load(open opener, dir string, log hclog.Logger) (ix *index, active *segment, err error) {
	l := &loader{open: open, dir: dir, log: log, ix: newIndex(), dead: map[logstore.Key]*grave{}}
	ids, err := listSegments(dir)
	if err != nil {
		return nil, nil, err
	}
	var last *segment
	for i, id := range ids {
		g, err := l.segment(id, i == len(ids)-1)
		if err != nil {
			l.ix.retire()
			return nil, nil, err
		}
		if g != nil {
			g.closed = true
			last = g
		}
		l.ix.nextSeg = id + 1
	}
	if err := l.finish(); err != nil {
		l.ix.retire()
		return nil, nil, err
	}
	if last != nil && last.id == l.ix.nextSeg-1 && last.sidecar == 0 {
		last.closed = false
		return l.ix, last, nil
	}
	return l.ix, nil, nil
}

func (ix *index) retire() {
	for _, g := range ix.segs {
		g.retire()
	}
}

// listSegments returns the ids in order and removes what an interrupted write
// of a sidecar left behind.
func listSegments(dir string) ([]segmentID, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var ids []segmentID
	for _, n := range names {
		if strings.HasSuffix(n.Name(), sidecarSuffix+".tmp") {
			if err := os.Remove(filepath.Join(dir, n.Name())); err != nil {
				return nil, fmt.Errorf("remove unfinished segment index: %w", err)
			}
		}
		base, ok := strings.CutSuffix(n.Name(), segmentSuffix)
		if !ok {
			continue
		}
		id, err := strconv.ParseUint(base, 16, 32)
		if err != nil || segmentPath(dir, segmentID(id)) != filepath.Join(dir, n.Name()) {
			return nil, fmt.Errorf("list segments: %s is not a segment's name: move it out of %s", n.Name(), dir)
		}
		ids = append(ids, segmentID(id))
	}
	slices.Sort(ids)
	return ids, nil
}

// segment takes one segment in; nil when nothing of it can be used.
func (l *loader) segment(id segmentID, newest bool) (*segment, error) {
	g := &segment{id: id, path: segmentPath(l.dir, id)}
	info, err := os.Stat(g.path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	g.size = info.Size()
	if g.f, err = l.open(g.path, os.O_RDWR); err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	records, err := l.records(g, newest)
	if errors.Is(err, errUnusable) {
		g.retire()
		return nil, l.putAside(g)
	}
	if err != nil {
		g.retire()
		return nil, err
	}
	g.durable = g.size
	l.ix.segs[id] = g
	for _, r := range records {
		l.take(r, g)
	}
	return g, nil
}

var errUnusable = errors.New("the segment's beginning is damaged")

// records lists a segment's records, from its sidecar or by reading it all.
func (l *loader) records(g *segment, newest bool) ([]found, error) {
	s, records, size, err := readSidecar(sidecarPath(g.path), g.size)
	if err == nil {
		g.salt, g.sidecar = s, size
		return records, nil
	}
	if !errors.Is(err, errNoSidecar) {
		return nil, err
	}
	pre := make([]byte, preambleSize)
	if n, err := g.f.ReadAt(pre, 0); err != nil && int64(n) < min(g.size, preambleSize) {
		return nil, fmt.Errorf("read segment %s: %w", g.path, err)
	}
	var ok bool
	if g.salt, ok = readPreamble(pre); !ok {
		return nil, errUnusable
	}
	res, err := scan(g, g.size)
	if err != nil {
		return nil, err
	}
	for _, d := range res.damaged {
		l.log.Error("segment is damaged; the logs that had bytes there are marked", "segment", g.path, "position", d.pos, "bytes", d.size)
	}
	if res.end < g.size {
		l.log.Info("cut off a write that a crash interrupted", "segment", g.path, "position", res.end, "bytes", g.size-res.end)
		if err := errors.Join(g.f.Truncate(res.end), g.f.Datasync()); err != nil {
			return nil, fmt.Errorf("truncate segment %s: %w", g.path, err)
		}
		g.size = res.end
	}
	return res.records, nil
}

// putAside gets a segment out of the way of which not even the beginning can be
// read. One that a crash cut short before its first record is simply removed.
func (l *loader) putAside(g *segment) error {
	if g.size <= preambleSize {
		return g.remove()
	}
	aside := g.path + ".damaged"
	if err := os.Rename(g.path, aside); err != nil {
		return fmt.Errorf("set damaged segment aside: %w", err)
	}
	l.log.Error("segment is damaged from its beginning; it was set aside and the logs that had bytes there are marked",
		"segment", g.path, "position", 0, "bytes", g.size, "renamed_to", aside)
	return nil
}

// take adds one record to the index.
func (l *loader) take(r found, g *segment) {
	at := place{g.id, r.pos}
	l.ix.nextGen = max(l.ix.nextGen, r.gen+1)
	if d := l.dead[r.key]; d != nil && r.gen <= d.gen && !(r.gen == d.gen && r.kind == kindDrop) {
		d.lo, d.hi = widen(d.lo, d.hi, g.id)
		return
	}
	switch r.kind {
	case kindDrop, kindExpire:
		l.bury(r, at)
	case kindData, kindSeal:
		l.collect(r, at)
	}
}

func (l *loader) bury(r found, at place) {
	d := l.dead[r.key]
	if d == nil {
		d = &grave{}
		l.dead[r.key] = d
	}
	if d.at != (place{}) { // the older mark may have to be voided as well
		d.lo, d.hi = widen(d.lo, d.hi, d.at.seg)
	}
	d.gen, d.kind, d.at = r.gen, r.kind, at
	if e := l.ix.logs[r.key]; e != nil && e.gen <= r.gen {
		lo, hi := l.ix.forget(r.key, e)
		d.lo, d.hi = widen(d.lo, d.hi, lo)
		d.lo, d.hi = widen(d.lo, d.hi, hi)
	}
}

func (l *loader) collect(r found, at place) {
	e := l.ix.logs[r.key]
	if e == nil || e.gen < r.gen {
		if e != nil {
			lo, hi := l.ix.forget(r.key, e)
			l.stale(lo)
			l.stale(hi)
		}
		e = &entry{gen: r.gen}
		l.ix.logs[r.key] = e
		l.ix.unsealed++
	}
	if e.gen > r.gen {
		l.stale(at.seg)
		return
	}
	if r.kind == kindSeal {
		if e.sealed() {
			l.ix.need(e.seal, -r.size())
			l.stale(e.seal.seg)
		} else {
			l.ix.unsealed--
		}
		e.seal, e.size = at, r.off
		l.ix.need(at, r.size())
		return
	}
	l.collectPiece(e, pieceOf(r.record, at))
}

// stale notes that a segment holds records that are not counted there: a copy
// that a crash left behind.
func (l *loader) stale(id segmentID) {
	if id != 0 {
		l.ix.stale[id] = struct{}{}
	}
}

// collectPiece adds a piece that may be a later copy of one that is known.
func (l *loader) collectPiece(e *entry, p piece) {
	l.ix.need(p.at, p.stored())
	if old, ok := e.find(p.off); ok && old.off == p.off && old.size == p.size && old.packed == p.packed && e.move(p.off, old.at, p.at) {
		l.ix.need(old.at, -old.stored())
		l.stale(old.at.seg)
		return
	}
	if p.off == 0 || e.more == nil {
		e.add(p)
		return
	}
	i, _ := slices.BinarySearchFunc(*e.more, p.off, func(q piece, off int64) int { return cmp.Compare(q.off, off) })
	*e.more = slices.Insert(*e.more, i, p)
}

// finish looks for holes and places the marks of logs that are gone.
func (l *loader) finish() error {
	for k, e := range l.ix.logs {
		end, whole := e.contiguous()
		switch {
		case e.sealed() && end == e.size:
		case e.sealed():
			e.damaged = true
			l.log.Error("log is damaged; drop it and copy it again", "log", k, "intact_bytes", end, "bytes", e.size)
		case whole:
			e.size = end
		default:
			if err := l.cut(k, e, end); err != nil {
				return err
			}
		}
	}
	for k, d := range l.dead {
		l.lay(k, d)
	}
	return nil
}

// lay puts the last mark of a key where it is looked for later.
func (l *loader) lay(k logstore.Key, d *grave) {
	if d.kind == kindExpire && l.ix.logs[k] == nil {
		x := expiry{gen: d.gen, at: d.at, lo: d.lo, hi: d.hi}
		for id := range l.ix.stale {
			x.lo, x.hi = widen(x.lo, x.hi, id)
		}
		l.ix.expired[k] = x
		l.ix.need(d.at, headerSize)
		return
	}
	l.ix.bury(tomb{key: k, gen: d.gen, pos: d.at.pos, lo: d.lo, hi: d.hi}, d.at.seg, false)
}

// contiguous returns where the bytes from 0 end, and whether that is all there is.
func (e *entry) contiguous() (end int64, whole bool) {
	for p := range e.pieces {
		if p.off != end {
			return end, false
		}
		end = p.end()
	}
	return end, true
}

// cut takes an unsealed log back to its intact beginning; its worker sends the
// rest again. What follows is voided on disk, since it may come in other pieces.
func (l *loader) cut(k logstore.Key, e *entry, end int64) error {
	l.log.Warn("log has a hole; it goes on from there", "log", k, "intact_bytes", end)
	kept := &entry{gen: e.gen, size: end}
	for p := range e.pieces {
		if p.end() <= end {
			kept.add(p)
			continue
		}
		if err := l.void(p.record(kindVoid, k, e.gen), p.at); err != nil {
			return err
		}
		l.ix.need(p.at, -p.stored())
	}
	*e = *kept
	return nil
}

// void overwrites the header of a record.
func (l *loader) void(r record, at place) error {
	g := l.ix.segs[at.seg]
	if err := os.Remove(sidecarPath(g.path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove segment index: %w", err)
	}
	g.sidecar = 0
	data := make([]byte, headerSize+int(r.length))
	if _, err := g.f.ReadAt(data, int64(at.pos)); err != nil {
		return fmt.Errorf("take back a record of segment %s: %w", g.path, err)
	}
	r.crc = checksum(data[headerSize:])
	r.encode(data, &g.salt, at.pos)
	if _, err := g.f.WriteAt(data[:headerSize], int64(at.pos)); err != nil {
		return fmt.Errorf("take back a record of segment %s: %w", g.path, err)
	}
	return g.f.Datasync()
}
