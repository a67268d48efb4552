package disk

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// located is a record that the index knows, in a segment that stays open until
// it is released.
type located struct {
	record
	seg *segment
	pos uint32
}

var (
	buffers = sync.Pool{New: func() any { return new([headerSize + maxData]byte) }}
	// A packed record needs room, and what it unpacks to as well.
	packedBuffers = sync.Pool{New: func() any { return new([headerSize + maxStored]byte) }}
	plainBuffers  = sync.Pool{New: func() any { return new([logpack.MaxBytes]byte) }}
)

// ReadAt implements [logstore.Store].
func (s *Store) ReadAt(k logstore.Key, p []byte, off int64) (int, error) {
	n, err := s.readAt(k, p, off)
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("read log %v at %d: %w", k, off+int64(n), err)
	}
	return n, err
}

func (s *Store) readAt(k logstore.Key, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("a negative offset")
	}
	for n < len(p) {
		l, err := s.locate(k, off+int64(n))
		if err != nil {
			return n, err
		}
		m, err := s.readPiece(l, p[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readPiece copies from one record what belongs at off.
func (s *Store) readPiece(l located, p []byte, off int64) (int, error) {
	defer l.seg.release()
	if l.plain > 0 {
		return s.readPacked(l, p, off)
	}
	buf := buffers.Get().(*[headerSize + maxData]byte)
	defer buffers.Put(buf)
	data, err := s.readInto(buf[:], l)
	if err != nil {
		return 0, err
	}
	return copy(p, data[off-l.off:]), nil
}

// readPacked is readPiece for a packed record.
func (s *Store) readPacked(l located, p []byte, off int64) (int, error) {
	buf := packedBuffers.Get().(*[headerSize + maxStored]byte)
	defer packedBuffers.Put(buf)
	packed, err := s.readInto(buf[:], l)
	if err != nil {
		return 0, err
	}
	room := plainBuffers.Get().(*[logpack.MaxBytes]byte)
	defer plainBuffers.Put(room)
	data, err := logpack.Unpack(room[:], packed)
	if err != nil || len(data) != int(l.plain) {
		s.markDamaged(l)
		return 0, fmt.Errorf("segment %s at %d: %w", l.seg.path, l.pos, logstore.ErrDamaged)
	}
	return copy(p, data[off-l.off:]), nil
}

// PackedAt implements [logstore.Store].
func (s *Store) PackedAt(k logstore.Key, off int64) (packed []byte, n int64, err error) {
	l, err := s.locate(k, off)
	switch {
	case err == io.EOF:
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("read log %v at %d: %w", k, off, err)
	}
	defer l.seg.release()
	if l.plain == 0 || l.off != off {
		return nil, 0, nil
	}
	if packed, err = s.read(l); err != nil {
		return nil, 0, fmt.Errorf("read log %v at %d: %w", k, off, err)
	}
	return packed, int64(l.plain), nil
}

// locate finds the piece that holds the byte at off; io.EOF when it is the end.
func (s *Store) locate(k logstore.Key, off int64) (located, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.ix.logs[k]
	if e == nil {
		return located{}, s.ix.absent(k)
	}
	if off >= e.size {
		return located{}, io.EOF
	}
	p, ok := e.find(off)
	g := s.ix.segs[p.at.seg]
	if !ok || g == nil {
		return located{}, logstore.ErrDamaged
	}
	g.acquire()
	return located{p.record(kindData, k, e.gen), g, p.at.pos}, nil
}

func (s *Store) locateSeal(k logstore.Key) (located, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.ix.logs[k]
	if e == nil {
		return located{}, s.ix.absent(k)
	}
	g := s.ix.segs[e.seal.seg]
	if g == nil {
		return located{}, logstore.ErrDamaged
	}
	g.acquire()
	return located{record{kind: kindSeal, key: k, gen: e.gen, off: e.size, length: uint32(len(logstore.Digest{}))}, g, e.seal.pos}, nil
}

func (ix *index) absent(k logstore.Key) error {
	if ix.closed {
		return logstore.ErrClosed
	}
	if _, ok := ix.expired[k]; ok {
		return logstore.ErrExpired
	}
	return logstore.ErrNotFound
}

// read returns the data of a record after checking it.
func (s *Store) read(l located) ([]byte, error) {
	return s.readInto(make([]byte, l.size()), l)
}

func (s *Store) readInto(buf []byte, l located) ([]byte, error) {
	buf = buf[:l.size()]
	if _, err := l.seg.f.ReadAt(buf, int64(l.pos)); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read segment %s at %d: %w", l.seg.path, l.pos, err)
	}
	have, ok := decode(buf, &l.seg.salt, l.pos)
	want := l.record
	want.crc = have.crc
	if !ok || have != want || checksum(buf[headerSize:]) != have.crc {
		s.markDamaged(l)
		return nil, fmt.Errorf("segment %s at %d: %w", l.seg.path, l.pos, logstore.ErrDamaged)
	}
	return buf[headerSize:], nil
}

// markDamaged remembers that a log has lost bytes, and logs it the first time.
func (s *Store) markDamaged(l located) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ix.logs[l.key]
	if e == nil || e.gen != l.gen || e.damaged {
		return
	}
	e.damaged = true
	s.metrics.damaged()
	s.opts.Logger.Error("log is damaged; drop it and copy it again", "log", l.key, "segment", l.seg.path, "position", l.pos)
}
