package disk

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/weirbuild/weir/scheduler/logstore"
)

const shardCount = 64

// maxLog is how long a log may be, as records have room for its offsets.
const maxLog = 1<<plainShift - 1

var errOffset = errors.New("an offset that is negative, or beyond a terabyte")

// shard orders what changes a log. Different logs mostly have different ones,
// so that they are hashed side by side.
type shard struct {
	mu      sync.Mutex
	digests map[logstore.Key]hash.Hash // of unsealed logs, up to their ends
}

func (s *Store) shard(k logstore.Key) *shard {
	return &s.shards[shardOf(k)]
}

func shardOf(k logstore.Key) int { return int((k.Job*0x9e3779b97f4a7c15 + uint64(k.Attempt)) >> 58) }

// Append implements [logstore.Store].
func (s *Store) Append(k logstore.Key, offset int64, data []byte) (int64, error) {
	if err := s.ready(); err != nil {
		return 0, fmt.Errorf("append to log %v: %w", k, err)
	}
	sh := s.shard(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	end, err := s.append(sh, k, offset, data)
	if err != nil {
		return end, fmt.Errorf("append to log %v at %d: %w", k, offset, err)
	}
	return end, nil
}

func (s *Store) append(sh *shard, k logstore.Key, offset int64, data []byte) (int64, error) {
	end, sealed, err := s.appendable(k)
	switch {
	case err != nil:
		return end, err
	case offset < 0 || offset+int64(len(data)) > maxLog:
		return end, errOffset
	case offset > end:
		return end, logstore.ErrGap
	case offset+int64(len(data)) <= end:
		return end, nil
	case sealed:
		return end, logstore.ErrSealed
	}
	data = data[end-offset:]
	digest, err := s.digest(sh, k, end)
	if err != nil {
		return end, err
	}
	defer s.watchers.wake(k)
	for len(data) > 0 {
		n := min(len(data), maxBatch)
		if err := s.appendBatch(k, end, data[:n]); err != nil {
			return end, err
		}
		digest.Write(data[:n])
		sh.digests[k] = digest
		end, data = end+int64(n), data[n:]
	}
	return end, nil
}

// appendable returns a log's end, 0 for one that is new.
func (s *Store) appendable(k logstore.Key) (end int64, sealed bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ix.appendable(k)
}

// appendBatch writes bytes that belong at the end of a log.
func (s *Store) appendBatch(k logstore.Key, end int64, data []byte) error {
	gen := s.generation(k)
	frames := dataFrames(nil, record{kind: kindData, key: k, gen: gen, off: end}, data)
	at, err := s.writer.write(frames...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enter(k, gen, frames, at)
	return nil
}

// dataFrames appends the frames of a log's bytes from r's offset on to frames.
func dataFrames(frames []frame, r record, data []byte) []frame {
	for len(data) > 0 {
		n := min(len(data), maxData)
		frames = append(frames, frame{r, data[:n]})
		r.off, data = r.off+int64(n), data[n:]
	}
	return frames
}

// enter puts what was written of a log's bytes from a place on into the index,
// and returns the place after it. Store.mu is held.
func (s *Store) enter(k logstore.Key, gen uint64, frames []frame, at place) place {
	e := s.ix.logs[k]
	if e == nil {
		e = &entry{gen: gen}
		s.ix.logs[k] = e
		s.ix.unsealed++
	}
	s.ix.touch(k, e.size)
	for _, f := range frames {
		e.add(pieceOf(f.record, at))
		e.size += int64(f.bytes())
		s.ix.need(at, f.size())
		s.metrics.appended(int(f.bytes()))
		at.pos += uint32(f.size())
	}
	return at
}

// generation returns that of a log, a fresh one if it is new.
func (s *Store) generation(k logstore.Key) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ix.generation(k)
}

// digest returns the running digest of an unsealed log of this size. After a
// restart it is computed from what is stored.
func (s *Store) digest(sh *shard, k logstore.Key, size int64) (hash.Hash, error) {
	if h := sh.digests[k]; h != nil {
		return h, nil
	}
	h := sha256.New()
	buf := make([]byte, min(size, 4*maxData))
	for off := int64(0); off < size; {
		n, err := s.readAt(k, buf[:min(int64(len(buf)), size-off)], off)
		if err != nil {
			return nil, err
		}
		h.Write(buf[:n])
		off += int64(n)
	}
	if sh.digests == nil {
		sh.digests = map[logstore.Key]hash.Hash{}
	}
	if size > 0 {
		sh.digests[k] = h
	}
	return h, nil
}
