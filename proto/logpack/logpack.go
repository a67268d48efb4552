// Package logpack compresses the pieces of build logs on their way.
//
// A log is packed once, by the worker, and passed on as it is: the leader hands
// the same bytes to the other nodes and to those who follow the log, and nodes
// keep them so. Each hop then costs a fifth of the copying, encryption and disk.
// The format is an S2 block
// (github.com/klauspost/compress/s2): a megabyte of text takes a millisecond to
// pack and a third of that to unpack.
//
// It promises that no packed piece, whoever made it, unpacks to more than
// MaxBytes. It detects no damage: the digest of the whole log does.
package logpack

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Which pieces are packed.
const (
	MinBytes = 4 << 10   // smaller ones are not
	MaxBytes = 256 << 10 // none is larger
)

var buffers = sync.Pool{New: func() any { b := make([]byte, s2.MaxEncodedLen(MaxBytes)); return &b }}

// Pack packs a piece, in memory of its own. It returns nil where that is not
// worth it: the piece is small, or would not lose an eighth.
func Pack(data []byte) []byte {
	if len(data) < MinBytes || len(data) > MaxBytes {
		return nil
	}
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	packed := s2.Encode(*b, data)
	if len(packed) > len(data)-len(data)/8 {
		return nil
	}
	return append([]byte(nil), packed...)
}

// Len is how many bytes a packed piece has when it is unpacked.
func Len(packed []byte) (int, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil {
		return 0, fmt.Errorf("packed piece of a log: %w", err)
	}
	if n > MaxBytes {
		return 0, fmt.Errorf("packed piece of a log: %d bytes, more than %d", n, MaxBytes)
	}
	return n, nil
}

// Unpack returns the piece, in buf if it is large enough.
func Unpack(buf, packed []byte) ([]byte, error) {
	if _, err := Len(packed); err != nil {
		return nil, err
	}
	data, err := s2.Decode(buf[:cap(buf)], packed)
	if err != nil {
		return nil, fmt.Errorf("packed piece of a log: %w", err)
	}
	return data, nil
}

// Bench is a place to unpack into. Its zero value is ready; it serves one
// goroutine.
type Bench struct{ used []*[]byte }

// Unpack is the function Unpack, but the piece is valid only until Clear.
func (b *Bench) Unpack(packed []byte) ([]byte, error) {
	buf := buffers.Get().(*[]byte)
	b.used = append(b.used, buf)
	return Unpack(*buf, packed)
}

// Clear gives the memory of all pieces back.
func (b *Bench) Clear() {
	for _, buf := range b.used {
		buffers.Put(buf)
	}
	clear(b.used)
	b.used = b.used[:0]
}
