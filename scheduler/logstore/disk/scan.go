package disk

import (
	"bufio"
	"fmt"
	"io"

	"github.com/weirbuild/weir/proto/logpack"
)

// scanWindow is how many bytes of a segment are looked at together; the largest
// record fits.
const scanWindow = 2 * maxStored

// found is a record and its position in the segment.
type found struct {
	record
	pos uint32
}

// damage is a stretch of a segment that holds no record that can be trusted.
type damage struct {
	pos, size int64
}

// scanResult is what a segment holds. What follows end is a torn tail.
type scanResult struct {
	records []found
	damaged []damage
	end     int64
}

// scan reads a whole segment and checks every byte. Damage with records behind
// it is reported; damage at the end is a write that a crash cut short.
func scan(g *segment, size int64) (scanResult, error) {
	res := scanResult{end: preambleSize}
	r := bufio.NewReaderSize(io.NewSectionReader(g.f, preambleSize, size-preambleSize), scanWindow)
	for pos := int64(preambleSize); pos < size; {
		rec, ok, err := peekRecord(r, g, pos)
		if err != nil {
			return res, fmt.Errorf("scan segment %s at %d: %w", g.path, pos, err)
		}
		step := int64(1)
		if ok {
			if res.end < pos {
				res.damaged = append(res.damaged, damage{res.end, pos - res.end})
			}
			res.records = append(res.records, found{rec, uint32(pos)})
			step = rec.size()
			res.end = pos + step
		}
		n, err := r.Discard(int(step))
		if err != nil && err != io.EOF {
			return res, fmt.Errorf("scan segment %s at %d: %w", g.path, pos, err)
		}
		if n == 0 {
			break // the file is shorter than it was a moment ago
		}
		pos += int64(n)
	}
	return res, nil
}

// peekRecord returns the record at the reader's position, if a whole one is there.
func peekRecord(r *bufio.Reader, g *segment, pos int64) (record, bool, error) {
	h, err := r.Peek(headerSize)
	if err != nil {
		return record{}, false, notEOF(err)
	}
	rec, ok := decode(h, &g.salt, uint32(pos))
	if !ok || rec.length > maxStored || rec.plain > logpack.MaxBytes {
		return record{}, false, nil
	}
	whole, err := r.Peek(int(rec.size()))
	if err != nil {
		return record{}, false, notEOF(err)
	}
	return rec, checksum(whole[headerSize:]) == rec.crc, nil
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
