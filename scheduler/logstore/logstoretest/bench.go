package logstoretest

import (
	"crypto/sha256"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// Bench measures what a scheduler node does: many small logs, each appended,
// sealed and synced by a caller of its own, and one large log written and read.
func Bench(b *testing.B, m Maker) {
	b.Run("logs of 1 KB, 64 at once", func(b *testing.B) { benchSmall(b, m, 64) })
	b.Run("logs of 1 KB, 1024 at once", func(b *testing.B) { benchSmall(b, m, 1024) })
	b.Run("one large log, written and synced", func(b *testing.B) { benchWrite(b, m, 1) })
	b.Run("8 large logs, written and synced", func(b *testing.B) { benchWrite(b, m, 8) })
	b.Run("one large log, read", func(b *testing.B) { benchRead(b, m) })
}

func benchStore(b *testing.B, m Maker) logstore.Store {
	b.Helper()
	s := m.Open(b, b.TempDir())
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func benchSmall(b *testing.B, m Maker, callers int) {
	s := benchStore(b, m)
	text := Text(Key(1), 1024)
	sum := sha256.Sum256(text)
	var next atomic.Uint64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for job := next.Add(1); job <= uint64(b.N); job = next.Add(1) {
				if _, err := s.Append(Key(job), 0, text); err != nil {
					b.Error(err)
				}
				if err := s.Seal(Key(job), 1024, sum); err != nil {
					b.Error(err)
				}
				if err := s.Sync(b.Context()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logs/s")
}

const chunk = 256 << 10

// benchWrite appends chunks as a worker ships them; a sync covers 4 MiB.
func benchWrite(b *testing.B, m Maker, logs int) {
	s := benchStore(b, m)
	text := Text(Key(1), chunk)
	b.SetBytes(int64(logs * chunk))
	var wg sync.WaitGroup
	b.ResetTimer()
	for job := range logs {
		wg.Go(func() {
			for i := range b.N {
				if _, err := s.Append(Key(uint64(job)), int64(i)*chunk, text); err != nil {
					b.Error(err)
				}
				if i%16 == 15 {
					Sync(b, s)
				}
			}
		})
	}
	wg.Wait()
	Sync(b, s)
}

func benchRead(b *testing.B, m Maker) {
	s := benchStore(b, m)
	const size = 64 << 20
	text := Text(Key(1), chunk)
	for off := int64(0); off < size; off += chunk {
		if _, err := s.Append(Key(1), off, text); err != nil {
			b.Fatal(err)
		}
	}
	p := make([]byte, chunk)
	b.SetBytes(chunk)
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.ReadAt(Key(1), p, int64(i)*chunk%size); err != nil && err != io.EOF {
			b.Fatal(err)
		}
	}
}
