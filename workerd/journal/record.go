package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// The file is a magic line and then records: the length of the body and its
// CRC-32C, four bytes each, little-endian, and the body. A body is the kind, one
// byte, the lease as a varint, and more by kind: of one that was seen its job and
// attempt as varints, of a result the Outcome.
const (
	magic     = "weir worker journal 1\n"
	headSize  = 8
	maxRecord = 64 << 10 // an Outcome is at most 5 KiB and a little
)

type kind byte

const (
	kindFloor   kind = 1 // every lease up to here has been seen
	kindSeen    kind = 2 // a lease was given to this worker
	kindResult  kind = 3 // its attempt has ended, not acknowledged yet
	kindSettled kind = 4 // the cluster wants nothing more of it
)

type record struct {
	kind    kind
	lease   uint64
	job     uint64      // of one that was seen
	attempt uint32      // of one that was seen
	outcome *pb.Outcome // of a result
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r record) appendTo(b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, make([]byte, headSize)...)
	b = append(b, byte(r.kind))
	b = binary.AppendUvarint(b, r.lease)
	if r.kind == kindSeen {
		b = binary.AppendUvarint(b, r.job)
		b = binary.AppendUvarint(b, uint64(r.attempt))
	}
	if r.outcome != nil {
		var err error
		if b, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(b, r.outcome); err != nil {
			return b[:start], fmt.Errorf("encode outcome of lease %d: %w", r.lease, err)
		}
	}
	body := b[start+headSize:]
	if len(body) > maxRecord {
		return b[:start], fmt.Errorf("encode outcome of lease %d: %d bytes are more than a record's %d", r.lease, len(body), maxRecord)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(body, castagnoli))
	return b, nil
}

// readRecord decodes the record at the start of b. ok is false when there is no
// whole, sound record.
func readRecord(b []byte) (r record, size int, ok bool) {
	if len(b) < headSize {
		return r, 0, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n < 2 || n > maxRecord || int(n) > len(b)-headSize {
		return r, 0, false
	}
	body := b[headSize : headSize+n]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return r, 0, false
	}
	if !r.read(body) {
		return record{}, 0, false
	}
	return r, headSize + int(n), true
}

// read decodes a body whose checksum is right.
func (r *record) read(body []byte) bool {
	rest := body[1:]
	number := func() uint64 {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			rest = nil
			return 0
		}
		rest = rest[n:]
		return v
	}
	r.kind, r.lease = kind(body[0]), number()
	switch r.kind {
	case kindFloor, kindSettled:
	case kindSeen:
		r.job, r.attempt = number(), uint32(number())
	case kindResult:
		r.outcome = new(pb.Outcome)
		return rest != nil && proto.Unmarshal(rest, r.outcome) == nil
	default:
		return false
	}
	return rest != nil
}

// readAll finds every sound record in b. After damage it looks for the next one
// byte by byte: what is sound was written by this worker and is true, whatever
// was lost before it. damage is the offset of the first unreadable byte that has
// a sound record after it, or -1; end is where the last sound record ends.
func readAll(b []byte) (found []record, damage, end int) {
	damage = -1
	bad := -1
	for at := 0; at < len(b); {
		r, size, ok := readRecord(b[at:])
		if !ok {
			if bad < 0 {
				bad = at
			}
			at++
			continue
		}
		if bad >= 0 && damage < 0 {
			damage = bad
		}
		bad = -1
		found = append(found, r)
		at += size
		end = at
	}
	return found, damage, end
}
