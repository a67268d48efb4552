package logstoretest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/weirbuild/weir/scheduler/logstore"
)

func testConcurrency(t *testing.T, m Maker) {
	s := open(t, m)
	const writers, logs = 16, 30
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range logs {
				k := Key(uint64(w*logs + i))
				if err := lifecycle(t, s, k); err != nil {
					t.Errorf("log %v: %v", k, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			for k, info := range s.Keys() {
				if b, err := Read(s, k); err == nil && int64(len(b)) < info.Size && info.Sealed {
					t.Errorf("log %v: %d of %d bytes", k, len(b), info.Size)
				}
			}
			if m.Tidy != nil {
				m.Tidy(t, s)
			}
		}
	})
	wg.Wait()
	if u := s.Usage(); u.Unsealed != 0 {
		t.Errorf("usage at the end: %+v", u)
	}
}

// lifecycle writes a log in pieces, syncs, seals and reads it, and drops every
// third one.
func lifecycle(t *testing.T, s logstore.Store, k logstore.Key) error {
	text := Text(k, int(k.Job*37)%5000)
	for part := range slices.Chunk(text, 700) {
		info, _ := s.Stat(k)
		if _, err := s.Append(k, info.Size, part); err != nil {
			return err
		}
	}
	if err := s.Seal(k, int64(len(text)), sha256.Sum256(text)); err != nil {
		return err
	}
	if err := s.Sync(t.Context()); err != nil {
		return err
	}
	if info, ok := s.Stat(k); !ok || !info.Sealed || info.Durable != int64(len(text)) {
		return errors.New("not sealed and durable after sync")
	}
	have, err := Read(s, k)
	if err != nil || !bytes.Equal(have, text) {
		return errors.Join(err, errors.New("other bytes"))
	}
	if k.Job%3 == 0 {
		return s.Drop(k)
	}
	return nil
}
