package logstoretest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// testPut puts pieces of all kinds at once; each must get its own answer.
func testPut(t *testing.T, m Maker) {
	s := open(t, m)
	text := func(n uint64, size int) []byte { return Text(Key(n), size) }
	end := func(data []byte) *logstore.End {
		return &logstore.End{Bytes: int64(len(data)), Digest: sha256.Sum256(data)}
	}
	begun, sealed, big := text(1, 300), text(2, 500), text(3, 3<<20)
	if _, err := s.Append(Key(1), 0, begun[:100]); err != nil {
		t.Fatal(err)
	}
	Put(t, s, Key(2), sealed)
	for i, step := range []struct {
		piece logstore.Piece
		end   int64
		err   error
	}{
		{logstore.Piece{Key: Key(1), Offset: 50, Data: begun[50:200]}, 200, nil},
		{logstore.Piece{Key: Key(1), Offset: 200, Data: begun[200:], End: end(begun)}, 300, nil},
		{logstore.Piece{Key: Key(1), Offset: 0, Data: begun, End: end(begun)}, 300, nil},
		{logstore.Piece{Key: Key(2), Offset: 500, Data: []byte("more")}, 500, logstore.ErrSealed},
		{logstore.Piece{Key: Key(3), Offset: 0, Data: big, End: end(big)}, int64(len(big)), nil},
		{logstore.Piece{Key: Key(4), Offset: 1, Data: []byte("x")}, 0, logstore.ErrGap},
		{logstore.Piece{Key: Key(5), Offset: 0, Data: text(5, 70_000), End: end(text(5, 70_000))}, 70_000, nil},
		{logstore.Piece{Key: Key(6), Offset: 0, Data: text(6, 9), End: end(text(6, 8))}, 9, logstore.ErrMismatch},
		{logstore.Piece{Key: Key(7), Offset: 0, End: end(nil)}, 0, nil},
		{logstore.Piece{Key: Key(8), Offset: 0, Data: text(8, 10)}, 10, nil},
		{logstore.Piece{Key: Key(8), Offset: 10, Data: nil, End: end(text(8, 10))}, 10, nil},
	} {
		pieces := []logstore.Piece{
			{Key: Key(100), Offset: int64(i), Data: []byte{byte(i)}},
			step.piece,
			{Key: Key(uint64(101 + i)), Data: text(uint64(101+i), 40), End: end(text(uint64(101+i), 40))},
		}
		got := s.Put(pieces)
		if len(got) != 3 || got[0].Err != nil || got[2].Err != nil || got[0].End != int64(i+1) || got[2].End != 40 {
			t.Fatalf("step %d: its neighbours: %+v", i, got)
		}
		if got[1].End != step.end || !errors.Is(got[1].Err, step.err) || (step.err == nil) != (got[1].Err == nil) {
			t.Errorf("step %d: end %d, %v; want %d, %v", i, got[1].End, got[1].Err, step.end, step.err)
		}
		Want(t, s, Key(uint64(101+i)), pieces[2].Data)
	}
	Want(t, s, Key(1), begun)
	Want(t, s, Key(3), big)
	Want(t, s, Key(5), text(5, 70_000))
	for n, want := range map[uint64]bool{1: true, 2: true, 3: true, 5: true, 6: false, 7: true, 8: true, 100: false, 101: true} {
		if info, ok := s.Stat(Key(n)); !ok || info.Sealed != want {
			t.Errorf("log %d: %+v, want sealed %v", n, info, want)
		}
	}
	if _, ok := s.Stat(Key(4)); ok {
		t.Error("a refused piece made a log")
	}
	if n, d, err := s.Digest(Key(100)); err != nil || n != 11 || d != sha256.Sum256([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("digest of a growing log: %d bytes, %v, %v", n, d, err)
	}
}

// testPacked puts pieces that came packed: the log reads as it was before, and
// the store takes less room for it.
func testPacked(t *testing.T, m Maker) {
	dir := t.TempDir()
	s := m.Open(t, dir)
	text := bytes.Repeat(Text(Key(1), 500), 2000) // a megabyte
	digest := sha256.Sum256(text)
	cuts := []int{0, 100, 10_100, 150_000, 150_001, 400_000, 600_000, 800_000, len(text)}
	var packed int
	for i, from := range cuts[:len(cuts)-1] {
		to := cuts[i+1]
		p := logstore.Piece{Key: Key(1), Offset: int64(from), Data: text[from:to], Packed: logpack.Pack(text[from:to])}
		if p.Packed != nil {
			packed++
		}
		if to == len(text) {
			p.End = &logstore.End{Bytes: int64(to), Digest: digest}
		}
		if w := s.Put([]logstore.Piece{p}); w[0].Err != nil || w[0].End != int64(to) {
			t.Fatalf("%d to %d: end %d, %v", from, to, w[0].End, w[0].Err)
		}
	}
	half := text[:200_000]
	for i, p := range []logstore.Piece{
		{Key: Key(2), Data: half[:60_000], Packed: logpack.Pack(half[:60_000])},
		{Key: Key(2), Offset: 30_000, Data: half[30_000:90_000], Packed: logpack.Pack(half[30_000:90_000])}, // partly known
		{Key: Key(2), Offset: 90_000, Data: half[90_000:]},
		{Key: Key(2), Offset: 0, Data: half[:60_000], Packed: logpack.Pack(half[:60_000])}, // known
	} {
		if w := s.Put([]logstore.Piece{p}); w[0].Err != nil {
			t.Fatalf("piece %d: %v", i, w[0].Err)
		}
	}
	for range 2 { // the second time, opened again
		Want(t, s, Key(1), text)
		Want(t, s, Key(2), half)
		if n := wantPacked(t, s, Key(1), text); n != packed {
			t.Errorf("%d packed pieces, want %d", n, packed)
		}
		if n := wantPacked(t, s, Key(2), half); n != 1 {
			t.Errorf("%d packed pieces of the second log, want 1", n)
		}
		part := make([]byte, 5000)
		for _, off := range []int64{0, 99, 9_999, 149_999, 222_222, 399_999} {
			if n, err := s.ReadAt(Key(1), part, off); err != nil || !bytes.Equal(part[:n], text[off:off+5000]) {
				t.Errorf("at %d: %d bytes, %v, or they differ", off, n, err)
			}
		}
		if n, d, err := s.Digest(Key(2)); err != nil || n != int64(len(half)) || d != sha256.Sum256(half) {
			t.Errorf("digest of %d bytes, %v", n, err)
		}
		if u := s.Usage(); u.LiveBytes > int64(len(text)/2+len(half)) {
			t.Errorf("%d bytes are kept of %d", u.LiveBytes, len(text)+len(half))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = m.Open(t, dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantPacked checks and counts the packed pieces of a log.
func wantPacked(t testing.TB, s logstore.Store, k logstore.Key, text []byte) (pieces int) {
	t.Helper()
	for off := int64(0); off < int64(len(text)); {
		packed, n, err := s.PackedAt(k, off)
		if err != nil {
			t.Fatalf("log %v at %d: %v", k, off, err)
		}
		if packed == nil {
			off++
			continue
		}
		plain, err := logpack.Unpack(nil, packed)
		if err != nil || !bytes.Equal(plain, text[off:off+n]) {
			t.Fatalf("log %v at %d: a packed piece that is not the log's, %v", k, off, err)
		}
		pieces++
		off += n
	}
	return pieces
}
