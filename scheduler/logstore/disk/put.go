package disk

import (
	"crypto/sha256"
	"fmt"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// Put implements [logstore.Store].
func (s *Store) Put(pieces []logstore.Piece) []logstore.Written {
	written := make([]logstore.Written, len(pieces))
	for from := 0; from < len(pieces); {
		b := s.gather(pieces[from:], written[from:])
		b.run()
		from += len(b.puts)
	}
	for i := range written {
		if err := written[i].Err; err != nil {
			written[i].Err = fmt.Errorf("append to log %v at %d: %w", pieces[i].Key, pieces[i].Offset, err)
		}
	}
	return written
}

// batch is pieces of different logs that share a write.
type batch struct {
	store  *Store
	puts   []put
	shards uint64 // the logs' shards, a bit for each
	frames []frame
}

// put is one piece on its way.
type put struct {
	*logstore.Piece
	*logstore.Written
	gen    uint64
	sealed bool    // the log was before
	fresh  []byte  // its new bytes
	count  int     // of the frames of these
	frames []frame // those, once they are written
	whole  bool    // they are the whole log, and its seal is the next frame
}

// gather takes pieces up to the second one of a log, or to what one write takes.
func (s *Store) gather(pieces []logstore.Piece, written []logstore.Written) *batch {
	b := &batch{store: s, puts: make([]put, 0, len(pieces)), frames: make([]frame, 0, 2*len(pieces))}
	seen := make(map[logstore.Key]struct{}, len(pieces))
	size := 0
	for i := range pieces {
		p := put{Piece: &pieces[i], Written: &written[i]}
		_, again := seen[p.Key]
		if size += len(p.Data); again || i > 0 && size > maxBatch {
			break
		}
		seen[p.Key] = struct{}{}
		b.puts = append(b.puts, p)
		b.shards |= 1 << shardOf(p.Key)
	}
	return b
}

func (b *batch) run() {
	s := b.store
	if err := s.ready(); err != nil {
		b.fail(err)
		return
	}
	for i := range s.shards { // always in this order
		if b.shards&(1<<i) != 0 {
			s.shards[i].mu.Lock()
			defer s.shards[i].mu.Unlock()
		}
	}
	b.look()
	for i := range b.puts {
		b.prepare(&b.puts[i])
	}
	if len(b.frames) > 0 {
		at, err := s.writer.write(b.frames...)
		if err != nil {
			b.fail(err)
			return
		}
		b.enter(at)
	}
	for i := range b.puts {
		b.finish(&b.puts[i])
	}
}

// fail notes the error of a write that was not done.
func (b *batch) fail(err error) {
	for i := range b.puts {
		if p := &b.puts[i]; p.Err == nil {
			p.Err = err
		}
	}
}

// look finds out how far the logs are.
func (b *batch) look() {
	s := b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.puts {
		p := &b.puts[i]
		if p.Written.End, p.sealed, p.Err = s.ix.appendable(p.Key); p.Err == nil {
			p.gen = s.ix.generation(p.Key)
		}
	}
}

// prepare makes the frames of a piece.
func (b *batch) prepare(p *put) {
	end := p.Written.End
	fresh := p.Offset + int64(len(p.Data)) - end
	switch {
	case p.Err != nil || p.Offset >= 0 && p.Offset <= end && fresh <= 0:
		return
	case p.Offset < 0 || end+fresh > maxLog:
		p.Err = errOffset
		return
	case p.Offset > end:
		p.Err = logstore.ErrGap
		return
	case p.sealed:
		p.Err = logstore.ErrSealed
		return
	}
	p.fresh = p.Data[int64(len(p.Data))-fresh:]
	r, from := record{kind: kindData, key: p.Key, gen: p.gen, off: end}, len(b.frames)
	if n := len(p.Packed); n > 0 && n < len(p.Data) && len(p.Data) <= logpack.MaxBytes && end == p.Offset {
		r.plain = uint32(fresh)
		b.frames = append(b.frames, frame{r, p.Packed})
	} else {
		b.frames = dataFrames(b.frames, r, p.fresh)
	}
	p.count = len(b.frames) - from
	if e := p.Piece.End; e != nil && end == 0 && e.Bytes == fresh && sha256.Sum256(p.fresh) == e.Digest {
		p.whole = true
		b.frames = append(b.frames, sealFrame(p.Key, p.gen, e.Bytes, &e.Digest))
	}
}

// enter puts what was written into the index.
func (b *batch) enter(at place) {
	s, i := b.store, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for j := range b.puts {
		p := &b.puts[j]
		if p.count == 0 {
			continue
		}
		p.frames = b.frames[i : i+p.count]
		i += p.count
		at = s.enter(p.Key, p.gen, p.frames, at)
		if p.whole {
			s.enterSeal(p.Key, p.gen, at)
			at.pos += uint32(s.ix.sealSize())
			i++
		}
	}
}

// finish goes on with the running digest of a log that is not whole yet, seals
// one that is with this piece, and wakes who waits for it.
func (b *batch) finish(p *put) {
	s := b.store
	if p.Err != nil {
		return
	}
	sh := s.shard(p.Key)
	if len(p.frames) > 0 {
		defer s.watchers.wake(p.Key)
	}
	if len(p.frames) > 0 && !p.whole {
		digest, err := s.digest(sh, p.Key, p.Written.End)
		if err != nil {
			p.Err = err
			return
		}
		digest.Write(p.fresh)
		p.Written.End += int64(len(p.fresh))
		sh.digests[p.Key] = digest
	}
	switch e := p.Piece.End; {
	case p.whole:
		p.Written.End = e.Bytes
	case e != nil:
		p.Err = s.seal(sh, p.Key, e.Bytes, e.Digest)
	}
}
