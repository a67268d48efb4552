package logs

import (
	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/logstore"
)

const (
	// recentBytes is the largest plain chunk that is kept in memory: small ones
	// come by the thousand, and each would be read back for each peer.
	recentBytes = 4 << 10
	// Packed pieces are kept up to so many bytes of a log, and of all logs.
	recentPacked = 1 << 20
	recentTotal  = 64 << 20
)

// recent is the latest bytes of a log as they came. Its peers, and those who
// follow it, get them from here.
type recent struct {
	end    int64 // of data
	data   []byte
	packed []piecePacked // in their order
	held   int           // bytes of packed
}

type piecePacked struct {
	from, end int64
	data      []byte
}

// remember keeps a chunk; called with mu held.
func (t *term) remember(f *flow, c *pb.LogChunk) {
	end := c.Offset + int64(len(c.Data))
	f.recent.end, f.recent.data = 0, nil
	switch r := &f.recent; {
	case len(c.Packed) > 0:
		if n := len(r.packed); n > 0 && r.packed[n-1].end > c.Offset {
			t.forgetRecent(f) // it was sent again
		}
		if t.recent+len(c.Packed) > recentTotal {
			return
		}
		r.packed = append(r.packed, piecePacked{c.Offset, end, c.Packed})
		r.held, t.recent = r.held+len(c.Packed), t.recent+len(c.Packed)
		for r.held > recentPacked {
			n := len(r.packed[0].data)
			r.held, t.recent = r.held-n, t.recent-n
			r.packed[0] = piecePacked{}
			r.packed = r.packed[1:]
		}
	case len(c.Data) <= recentBytes:
		r.end, r.data = end, c.Data
	}
}

// forgetRecent is for a log that ends, or starts over; called with mu held.
func (t *term) forgetRecent(f *flow) {
	t.recent -= f.recent.held
	f.recent = recent{}
}

// plain returns n bytes from an offset, nil if they are not in memory.
func (r *recent) plain(offset, n int64) []byte {
	from := offset - (r.end - int64(len(r.data)))
	if n == 0 || from < 0 || offset+n > r.end {
		return nil
	}
	return r.data[from : from+n]
}

// at returns the packed piece that begins at an offset, or where the next one
// begins; 0: there is none.
func (r *recent) at(offset int64) (p piecePacked, next int64) {
	for i := len(r.packed) - 1; i >= 0 && r.packed[i].from >= offset; i-- {
		p, next = r.packed[i], r.packed[i].from
	}
	if next != offset {
		p = piecePacked{}
	}
	return p, next
}

// cutAt takes up to most bytes of the log from an offset: packed as they came, or
// plain from memory; neither: they must be read. Called with mu held.
func (f *flow) cutAt(offset, most int64) (n int64, packed, plain []byte) {
	p, next := f.recent.at(offset)
	switch {
	case p.data != nil:
		return p.end - p.from, p.data, nil
	case next > offset:
		most = min(most, next-offset)
	}
	n = min(f.end-offset, most)
	return n, nil, f.recent.plain(offset, n)
}

// packed returns the packed piece of a log that begins at an offset, and its
// length.
func (t *term) packed(key logstore.Key, offset int64) ([]byte, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[key]
	if f == nil {
		return nil, 0
	}
	p, _ := f.recent.at(offset)
	return p.data, p.end - p.from
}

// unpack makes a piece plain that came packed.
func unpack(b *logpack.Bench, data, packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return data, nil
	}
	return b.Unpack(packed)
}
