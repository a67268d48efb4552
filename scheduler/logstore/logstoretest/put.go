package logstoretest

import (
	"crypto/sha256"
	"errors"
	"testing"

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
