package disk

import (
	"fmt"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// Seal implements [logstore.Store].
func (s *Store) Seal(k logstore.Key, bytes int64, digest logstore.Digest) error {
	if err := s.ready(); err != nil {
		return fmt.Errorf("seal log %v: %w", k, err)
	}
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := s.seal(sh, k, bytes, digest); err != nil {
		return fmt.Errorf("seal log %v: %w", k, err)
	}
	return nil
}

func (s *Store) seal(sh *shard, k logstore.Key, bytes int64, digest logstore.Digest) error {
	end, sealed, err := s.appendable(k)
	if err != nil {
		return err
	}
	if end != bytes {
		return fmt.Errorf("%w: %d bytes are announced, %d are here", logstore.ErrMismatch, bytes, end)
	}
	have, err := s.digestOf(sh, k, end, sealed)
	if err != nil {
		return err
	}
	if have != digest {
		return fmt.Errorf("%w: announced is %v, here is %v", logstore.ErrMismatch, digest, have)
	}
	if sealed {
		return nil
	}
	gen := s.generation(k)
	at, err := s.writer.write(sealFrame(k, gen, bytes, &digest))
	if err != nil {
		return err
	}
	delete(sh.digests, k)
	s.mu.Lock()
	s.enterSeal(k, gen, at)
	s.mu.Unlock()
	s.watchers.wake(k)
	return nil
}

func sealFrame(k logstore.Key, gen uint64, bytes int64, digest *logstore.Digest) frame {
	return frame{record{kind: kindSeal, key: k, gen: gen, off: bytes}, digest[:]}
}

// enterSeal puts a seal into the index. Store.mu is held.
func (s *Store) enterSeal(k logstore.Key, gen uint64, at place) {
	e := s.ix.logs[k]
	if e == nil { // an empty log
		e = &entry{gen: gen}
		s.ix.logs[k] = e
	} else {
		s.ix.unsealed--
	}
	e.seal = at
	s.ix.need(at, s.ix.sealSize())
}

// Digest implements [logstore.Store].
func (s *Store) Digest(k logstore.Key) (int64, logstore.Digest, error) {
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	info, ok := s.Stat(k)
	var d logstore.Digest
	err := logstore.ErrNotFound
	switch {
	case ok && info.Expired:
		err = logstore.ErrExpired
	case ok:
		d, err = s.digestOf(sh, k, info.Size, info.Sealed)
	}
	if err != nil {
		return 0, d, fmt.Errorf("digest of log %v: %w", k, err)
	}
	return info.Size, d, nil
}

// digestOf returns the digest of a log of this size; that of a sealed one is in
// its seal.
func (s *Store) digestOf(sh *shard, k logstore.Key, size int64, sealed bool) (d logstore.Digest, err error) {
	if !sealed {
		h, err := s.digest(sh, k, size)
		if err == nil {
			h.Sum(d[:0])
		}
		return d, err
	}
	l, err := s.locateSeal(k)
	if err != nil {
		return d, err
	}
	defer l.seg.release()
	data, err := s.read(l)
	copy(d[:], data)
	return d, err
}
