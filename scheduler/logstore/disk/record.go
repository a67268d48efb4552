package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/scheduler/logstore"
)

type kind uint8

const (
	kindData   kind = 1 + iota // bytes of a log; off is where they belong
	kindSeal                   // a log is complete; off is its length, the data its digest
	kindDrop                   // every record of the key up to this generation is void
	kindExpire                 // the same, and the log is remembered as expired
	kindVoid                   // a record that was taken back
	kindEnd
)

const (
	headerSize = 48
	macSize    = 8
	// maxData is how many bytes of a log one record holds at most, as they are: the
	// unit that is read and checked at once.
	maxData = 64 << 10
	// maxStored is how many bytes a record may have. A packed one holds a piece of a
	// log as the worker packed it.
	maxStored = logpack.MaxBytes
	// plainShift is where in its offset a packed record has the number of bytes that
	// it unpacks to.
	plainShift = 40
)

// headerMark makes a search for the next header in damaged bytes cheap.
var headerMark = [3]byte{'w', 'r', 1}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// salt is random, one for each segment, and known to nobody else. A build
// writes what it likes into its log, also the bytes of a forged record; without
// the salt it cannot make them pass for one where damage makes us search.
type salt [16]byte

// record is the header of what is written to a segment. A key's generation
// counts its lives: a log that was dropped and copied again has a new one.
type record struct {
	kind   kind
	key    logstore.Key
	gen    uint64
	off    int64
	plain  uint32 // bytes of the log, if the data is packed; else 0
	length uint32 // of the data
	crc    uint32 // of the data
}

func (r record) size() int64 { return headerSize + int64(r.length) }

// where is a record's offset and, of a packed one, its number of bytes.
func (r record) where() uint64 { return uint64(r.off) | uint64(r.plain)<<plainShift }

func fromWhere(w uint64) (off int64, plain uint32) {
	return int64(w & (1<<plainShift - 1)), uint32(w >> plainShift)
}

// bytes is how many of the log a record holds.
func (r record) bytes() uint32 {
	if r.plain > 0 {
		return r.plain
	}
	return r.length
}

// encode writes the header for a record at pos of a segment.
func (r record) encode(h []byte, s *salt, pos uint32) {
	le := binary.LittleEndian
	le.PutUint64(h[8:], r.key.Job)
	le.PutUint64(h[16:], r.gen)
	le.PutUint64(h[24:], r.where())
	le.PutUint32(h[32:], r.key.Attempt)
	le.PutUint32(h[36:], r.length)
	le.PutUint32(h[40:], r.crc)
	h[44] = byte(r.kind)
	copy(h[45:], headerMark[:])
	mac := headerMAC(h, s, pos)
	copy(h, mac[:])
}

// decode reads the header of a record at pos; false when it is none.
func decode(h []byte, s *salt, pos uint32) (record, bool) {
	if len(h) < headerSize || [3]byte(h[45:48]) != headerMark || h[44] == 0 || kind(h[44]) >= kindEnd {
		return record{}, false
	}
	if headerMAC(h, s, pos) != [macSize]byte(h) {
		return record{}, false
	}
	le := binary.LittleEndian
	off, plain := fromWhere(le.Uint64(h[24:]))
	return record{
		kind:   kind(h[44]),
		key:    logstore.Key{Job: le.Uint64(h[8:]), Attempt: le.Uint32(h[32:])},
		gen:    le.Uint64(h[16:]),
		off:    off,
		plain:  plain,
		length: le.Uint32(h[36:]),
		crc:    le.Uint32(h[40:]),
	}, true
}

// headerMAC ties a header to its segment and its place in it.
func headerMAC(h []byte, s *salt, pos uint32) [macSize]byte {
	var in [len(s) + 8 + headerSize - macSize]byte
	copy(in[:], s[:])
	binary.LittleEndian.PutUint64(in[len(s):], uint64(pos))
	copy(in[len(s)+8:], h[macSize:headerSize])
	sum := sha256.Sum256(in[:])
	return [macSize]byte(sum[:])
}

func checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }
