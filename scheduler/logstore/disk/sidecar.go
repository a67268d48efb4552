package disk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// A sidecar lists the records of a closed segment, so that opening the store
// need not read the logs themselves. It can always be made again.
const (
	sidecarMagic    = "weiridx\x01"
	sidecarPreamble = 40 // magic, salt, size of the segment, number of records
	sidecarEntry    = 40
)

// writeSidecar scans a closed, durable segment and returns the sidecar's size.
func writeSidecar(g *segment, size int64) (n int64, err error) {
	res, err := scan(g, size)
	if err != nil {
		return 0, err
	}
	path := sidecarPath(g.path)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return 0, fmt.Errorf("write segment index: %w", err)
	}
	err = encodeSidecar(f, g.salt, size, res.records)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return 0, fmt.Errorf("write segment index: %w", errors.Join(err, os.Remove(tmp)))
	}
	return sidecarPreamble + int64(len(res.records))*sidecarEntry + crc32.Size, nil
}

func encodeSidecar(f io.Writer, s salt, size int64, records []found) error {
	sum := crc32.New(castagnoli)
	buffered := bufio.NewWriterSize(f, 64<<10)
	w := io.MultiWriter(buffered, sum)
	le := binary.LittleEndian
	b := make([]byte, sidecarPreamble)
	copy(b, sidecarMagic)
	copy(b[8:], s[:])
	le.PutUint64(b[24:], uint64(size))
	le.PutUint64(b[32:], uint64(len(records)))
	_, _ = w.Write(b) // bufio keeps the first error for Flush
	for _, r := range records {
		e := b[:0]
		e = le.AppendUint64(e, r.key.Job)
		e = le.AppendUint64(e, r.gen)
		e = le.AppendUint64(e, r.where())
		e = le.AppendUint32(e, r.key.Attempt)
		e = le.AppendUint32(e, r.length)
		e = le.AppendUint32(e, r.pos)
		e = le.AppendUint32(e, uint32(r.kind))
		_, _ = w.Write(e)
		b = e
	}
	_, _ = buffered.Write(le.AppendUint32(nil, sum.Sum32()))
	return buffered.Flush()
}

// errNoSidecar: there is no sidecar that fits the segment; scan it instead.
var errNoSidecar = errors.New("no usable segment index")

// readSidecar returns the salt and the records of a segment of this size.
func readSidecar(path string, size int64) (salt, []found, int64, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return salt{}, nil, 0, errNoSidecar
	}
	if err != nil {
		return salt{}, nil, 0, fmt.Errorf("read segment index: %w", err)
	}
	le := binary.LittleEndian
	body := len(data) - crc32.Size
	if body < sidecarPreamble || string(data[:8]) != sidecarMagic || le.Uint32(data[body:]) != checksum(data[:body]) ||
		le.Uint64(data[24:]) != uint64(size) || le.Uint64(data[32:]) != uint64(body-sidecarPreamble)/sidecarEntry {
		return salt{}, nil, 0, errNoSidecar
	}
	records := make([]found, 0, le.Uint64(data[32:]))
	for e := data[sidecarPreamble:body]; len(e) >= sidecarEntry; e = e[sidecarEntry:] {
		off, plain := fromWhere(le.Uint64(e[16:]))
		records = append(records, found{
			record: record{
				key:    logstore.Key{Job: le.Uint64(e), Attempt: le.Uint32(e[24:])},
				gen:    le.Uint64(e[8:]),
				off:    off,
				plain:  plain,
				length: le.Uint32(e[28:]),
				kind:   kind(le.Uint32(e[36:])),
			},
			pos: le.Uint32(e[32:]),
		})
	}
	return salt(data[8:24]), records, int64(len(data)), nil
}
