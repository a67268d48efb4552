package logstoretest

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/weirbuild/weir/scheduler/logstore"
)

// Key makes a key of a job's first attempt.
func Key(job uint64) logstore.Key { return logstore.Key{Job: job, Attempt: 1} }

// Text returns n bytes that differ from log to log and from place to place.
func Text(k logstore.Key, n int) []byte {
	r := rand.New(rand.NewPCG(k.Job, uint64(k.Attempt)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Put appends a whole log and seals it.
func Put(t testing.TB, s logstore.Store, k logstore.Key, text []byte) {
	t.Helper()
	if _, err := s.Append(k, 0, text); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(k, int64(len(text)), sha256.Sum256(text)); err != nil {
		t.Fatal(err)
	}
}

// Sync makes everything durable.
func Sync(t testing.TB, s logstore.Store) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Read returns a whole log as it is now.
func Read(s logstore.Store, k logstore.Key) ([]byte, error) {
	info, ok := s.Stat(k)
	if !ok {
		return nil, logstore.ErrNotFound
	}
	b := make([]byte, info.Size+1)
	n, err := s.ReadAt(k, b, 0)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// Want fails unless a log reads as text, whole and in pieces.
func Want(t testing.TB, s logstore.Store, k logstore.Key, text []byte) {
	t.Helper()
	have, err := Read(s, k)
	if err != nil {
		t.Fatalf("log %v: %v", k, err)
	}
	if !bytes.Equal(have, text) {
		t.Fatalf("log %v: has %d bytes, want %d, or they differ", k, len(have), len(text))
	}
	part := make([]byte, min(len(text), 1000))
	at := int64(len(text) - len(part))
	if _, err := s.ReadAt(k, part, at); err != nil || !bytes.Equal(part, text[at:]) {
		t.Fatalf("log %v: its last %d bytes differ, or %v", k, len(part), err)
	}
}
