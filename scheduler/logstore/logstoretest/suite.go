// Package logstoretest is one suite for every implementation of
// logstore.Store. It promises to find an implementation that loses, mixes up or
// invents bytes, also over restarts; it does not look at how they are stored.
package logstoretest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirbuild/weir/scheduler/logstore"
)

const deadline = 30 * time.Second

// Maker opens stores of one implementation.
type Maker struct {
	// Open opens the store in a directory, made by the test, that may hold what
	// an earlier one left. The suite closes it.
	Open func(t testing.TB, dir string) logstore.Store
	// Tidy does a round of housekeeping, nil: there is none.
	Tidy func(t testing.TB, s logstore.Store)
}

// Run runs the suite.
func Run(t *testing.T, m Maker) {
	for name, test := range map[string]func(*testing.T, Maker){
		"bytes come back as they were":       testBytes,
		"offsets":                            testOffsets,
		"seal":                               testSeal,
		"many logs with one write":           testPut,
		"packed pieces":                      testPacked,
		"empty logs":                         testEmpty,
		"drop":                               testDrop,
		"durable":                            testDurable,
		"reopened":                           testReopen,
		"watch":                              testWatch,
		"keys and usage":                     testKeys,
		"closed":                             testClosed,
		"many writers, readers and droppers": testConcurrency,
		"random commands against a model":    testModel,
	} {
		t.Run(name, func(t *testing.T) { test(t, m) })
	}
}

func open(t *testing.T, m Maker) logstore.Store {
	t.Helper()
	s := m.Open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func testBytes(t *testing.T, m Maker) {
	s := open(t, m)
	k, text := Key(1), Text(Key(1), 300_000)
	for off := 0; off < len(text); {
		n := min(1+off/3, len(text)-off)
		end, err := s.Append(k, int64(off), text[off:off+n])
		if err != nil || end != int64(off+n) {
			t.Fatalf("append %d at %d: end %d, %v", n, off, end, err)
		}
		off += n
		Want(t, s, k, text[:off])
	}
	big := Text(Key(2), 5<<20)
	Put(t, s, Key(2), big)
	Want(t, s, Key(2), big)
	Want(t, s, k, text)
	for range 200 {
		off := rand.IntN(len(text))
		p := make([]byte, rand.IntN(len(text)-off)+1)
		n, err := s.ReadAt(k, p, int64(off))
		if err != nil || n != len(p) || !bytes.Equal(p, text[off:off+n]) {
			t.Fatalf("read %d at %d: %d bytes, %v", len(p), off, n, err)
		}
	}
}

func testOffsets(t *testing.T, m Maker) {
	s := open(t, m)
	k := Key(1)
	appends := func(off int64, data string, want int64, wantErr error) {
		t.Helper()
		if end, err := s.Append(k, off, []byte(data)); end != want || !errors.Is(err, wantErr) {
			t.Errorf("append %q at %d: end %d, %v; want %d, %v", data, off, end, err, want, wantErr)
		}
	}
	appends(1, "x", 0, logstore.ErrGap)
	if _, ok := s.Stat(k); ok {
		t.Error("a refused append made a log")
	}
	appends(0, "hello", 5, nil)
	appends(6, "x", 5, logstore.ErrGap)
	appends(0, "hell", 5, nil)
	appends(3, "lo world", 11, nil)
	appends(11, "", 11, nil)
	appends(5, "", 11, nil)
	Want(t, s, k, []byte("hello world"))
	if _, err := s.Append(k, -1, []byte("x")); err == nil {
		t.Error("a negative offset was accepted")
	}
	if _, err := s.ReadAt(k, make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
	for off, want := range map[int64]int{0: 11, 10: 1, 11: 0, 100: 0} {
		if n, err := s.ReadAt(k, make([]byte, 20), off); n != want || err != io.EOF {
			t.Errorf("read at %d: %d, %v; want %d and io.EOF", off, n, err, want)
		}
	}
	if _, err := s.ReadAt(Key(9), make([]byte, 1), 0); !errors.Is(err, logstore.ErrNotFound) {
		t.Errorf("read of an unknown log: %v", err)
	}
}

func testSeal(t *testing.T, m Maker) {
	s := open(t, m)
	k, text := Key(1), []byte("some text")
	sum := logstore.Digest(sha256.Sum256(text))
	if _, err := s.Append(k, 0, text); err != nil {
		t.Fatal(err)
	}
	if n, d, err := s.Digest(k); n != 9 || d != sum || err != nil {
		t.Errorf("digest: %d, %v, %v", n, d, err)
	}
	refused := func(n int64, d logstore.Digest) {
		t.Helper()
		before, _ := s.Stat(k)
		if err := s.Seal(k, n, d); !errors.Is(err, logstore.ErrMismatch) {
			t.Errorf("seal with other values: %v", err)
		}
		if after, _ := s.Stat(k); after != before {
			t.Errorf("a refused seal changed %+v to %+v", before, after)
		}
	}
	refused(8, sum)
	refused(10, sum)
	refused(9, logstore.Digest{})
	for range 2 {
		if err := s.Seal(k, 9, sum); err != nil {
			t.Fatal(err)
		}
	}
	refused(9, logstore.Digest{})
	refused(8, sum)
	if end, err := s.Append(k, 4, text[4:]); end != 9 || err != nil {
		t.Errorf("append what is known to a sealed log: %d, %v", end, err)
	}
	if end, err := s.Append(k, 9, []byte("x")); end != 9 || !errors.Is(err, logstore.ErrSealed) {
		t.Errorf("append to a sealed log: %d, %v", end, err)
	}
	if n, d, err := s.Digest(k); n != 9 || d != sum || err != nil {
		t.Errorf("digest of a sealed log: %d, %v, %v", n, d, err)
	}
	if _, _, err := s.Digest(Key(2)); !errors.Is(err, logstore.ErrNotFound) {
		t.Errorf("digest of an unknown log: %v", err)
	}
	if err := s.Seal(Key(2), 3, sum); !errors.Is(err, logstore.ErrMismatch) {
		t.Errorf("seal of an unknown log: %v", err)
	}
}

func testEmpty(t *testing.T, m Maker) {
	dir := t.TempDir()
	s := m.Open(t, dir)
	k := Key(1)
	if end, err := s.Append(k, 0, nil); end != 0 || err != nil {
		t.Errorf("append nothing: %d, %v", end, err)
	}
	if err := s.Seal(k, 0, sha256.Sum256(nil)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if info, ok := s.Stat(k); !ok || !info.Sealed || info.Size != 0 {
			t.Errorf("an empty log: %+v, %v", info, ok)
		}
		if n, err := s.ReadAt(k, make([]byte, 1), 0); n != 0 || err != io.EOF {
			t.Errorf("read an empty log: %d, %v", n, err)
		}
		if _, err := s.Append(k, 0, []byte("x")); !errors.Is(err, logstore.ErrSealed) {
			t.Errorf("append to an empty sealed log: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = m.Open(t, dir)
	}
	if err := s.Drop(k); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func testDrop(t *testing.T, m Maker) {
	dir := t.TempDir()
	s := m.Open(t, dir)
	for job := range uint64(4) {
		Put(t, s, Key(job), Text(Key(job), 5000))
	}
	if _, err := s.Append(Key(9), 0, []byte("not sealed")); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(Key(1), Key(2), Key(9), Key(77)); err != nil {
		t.Fatal(err)
	}
	again := []byte("another life")
	if _, err := s.Append(Key(1), 0, again); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		Want(t, s, Key(0), Text(Key(0), 5000))
		Want(t, s, Key(1), again)
		Want(t, s, Key(3), Text(Key(3), 5000))
		for _, k := range []logstore.Key{Key(2), Key(9), Key(77)} {
			if info, ok := s.Stat(k); ok {
				t.Errorf("dropped log %v: %+v", k, info)
			}
			if _, err := s.ReadAt(k, make([]byte, 1), 0); !errors.Is(err, logstore.ErrNotFound) {
				t.Errorf("read of a dropped log: %v", err)
			}
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

func testDurable(t *testing.T, m Maker) {
	s := open(t, m)
	k := Key(1)
	durable := func(size, want int64) {
		t.Helper()
		if info, _ := s.Stat(k); info.Size != size || info.Durable != want {
			t.Errorf("size %d, durable %d; want %d, %d", info.Size, info.Durable, size, want)
		}
	}
	for i := range int64(3) {
		if _, err := s.Append(k, i*4, []byte("some")); err != nil {
			t.Fatal(err)
		}
		durable(i*4+4, i*4)
		Sync(t, s)
		durable(i*4+4, i*4+4)
	}
	Sync(t, s)
	durable(12, 12)
}

func testReopen(t *testing.T, m Maker) {
	dir := t.TempDir()
	s := m.Open(t, dir)
	text := Text(Key(1), 200_000)
	for i := range 10 { // a restart between any two appends changes nothing
		if end, err := s.Append(Key(1), int64(i*20_000), text[i*20_000:(i+1)*20_000]); err != nil || end != int64(i+1)*20_000 {
			t.Fatalf("append %d: %d, %v", i, end, err)
		}
		Put(t, s, Key(uint64(100+i)), text[:i*1000])
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = m.Open(t, dir)
		Want(t, s, Key(1), text[:(i+1)*20_000])
	}
	if err := s.Seal(Key(1), int64(len(text)), sha256.Sum256(text)); err != nil {
		t.Errorf("the digest did not survive: %v", err)
	}
	for i := range 10 {
		Want(t, s, Key(uint64(100+i)), text[:i*1000])
		if info, _ := s.Stat(Key(uint64(100 + i))); !info.Sealed || info.Durable != int64(i*1000) {
			t.Errorf("sealed log after restarts: %+v", info)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func testWatch(t *testing.T, m Maker) {
	s := open(t, m)
	k := Key(1)
	woken, cancel := s.Watch(k)
	defer cancel()
	other, cancelOther := s.Watch(Key(2))
	defer cancelOther()
	wait := func(what string) {
		t.Helper()
		select {
		case <-woken:
		case <-time.After(deadline):
			t.Fatalf("%s woke nobody", what)
		}
	}
	for range 3 { // nobody listens meanwhile: one value stays
		if _, err := s.Append(k, 0, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	wait("append")
	if err := s.Seal(k, 1, sha256.Sum256([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	wait("seal")
	if err := s.Drop(k); err != nil {
		t.Fatal(err)
	}
	wait("drop")
	cancel()
	if _, err := s.Append(k, 0, []byte("y")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
		t.Error("woken after cancel")
	case <-other:
		t.Error("woken for another log")
	default:
	}
}

func testKeys(t *testing.T, m Maker) {
	s := open(t, m)
	want := map[logstore.Key]logstore.Info{}
	for job := range uint64(50) {
		k := logstore.Key{Job: job % 10, Attempt: uint32(job / 10)}
		Put(t, s, k, Text(k, 100))
		want[k] = logstore.Info{Size: 100, Durable: 100, Sealed: true}
	}
	if _, err := s.Append(Key(999), 0, []byte("live")); err != nil {
		t.Fatal(err)
	}
	want[Key(999)] = logstore.Info{Size: 4, Durable: 4}
	Sync(t, s)
	if have := maps.Collect(s.Keys()); !maps.Equal(have, want) {
		t.Errorf("keys: %v", have)
	}
	for range s.Keys() {
		break // ranging may end early
	}
	if u := s.Usage(); u.Logs != 51 || u.Unsealed != 1 || u.Expired != 0 || u.LiveBytes < 5004 || u.DiskBytes < u.LiveBytes {
		t.Errorf("usage: %+v", u)
	}
}

func testClosed(t *testing.T, m Maker) {
	s := m.Open(t, t.TempDir())
	Put(t, s, Key(1), []byte("text"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, appendErr := s.Append(Key(1), 0, []byte("text"))
	_, readErr := s.ReadAt(Key(1), make([]byte, 1), 0)
	for what, err := range map[string]error{
		"append": appendErr, "read": readErr, "sync": s.Sync(t.Context()),
		"seal": s.Seal(Key(2), 0, sha256.Sum256(nil)),
	} {
		if !errors.Is(err, logstore.ErrClosed) {
			t.Errorf("%s after close: %v", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("close twice: %v", err)
	}
}
