package gitsource

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// counted makes a server count what it sends.
func (s *server) counted() *atomic.Int64 {
	var sent atomic.Int64
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answer(counter{w, &sent}, r) })
	s.before.Store(&count)
	return &sent
}

type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	c.sent.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// longHistory is a repository of many commits, each of which has replaced a file of
// some kilobytes. It gives the last two.
func longHistory(t *testing.T, s *server) (r *repo, before, last string) {
	r = s.repo(t, "long")
	for i := range 30 {
		b := make([]byte, 10_000)
		_, _ = rand.Read(b) // never fails
		before, last = last, r.pushed("file", hex.EncodeToString(b), "number", fmt.Sprint(i))
	}
	return r, before, last
}

func in(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// A job that nobody will ask for its history costs a small part of that; one that
// needs it gets all of it afterwards.
func TestACommitWithoutItsHistory(t *testing.T) {
	s := newServer(t)
	r, before, last := longHistory(t, s)
	sent := s.counted()
	b := newBench(t)
	b.bare = true
	dir, _ := b.mustCheckout(t, r.url, before)
	wantFile(t, dir, "number", "28")
	alone := sent.Swap(0)
	if n := in(t, dir, "rev-list", "--count", "HEAD"); n != "1" {
		t.Errorf("the checkout has %s commits", n)
	}
	in(t, dir, "fsck", "--strict")
	dir, _ = b.mustCheckout(t, r.url, last)
	wantFile(t, dir, "number", "29")
	next := sent.Swap(0)
	if b.mustCheckout(t, r.url, before); sent.Load() != 0 {
		t.Errorf("%d bytes for a commit that was fetched before", sent.Load())
	}

	b.bare = false
	dir, _ = b.mustCheckout(t, r.url, last)
	if n := in(t, dir, "rev-list", "--count", "HEAD"); n != "30" {
		t.Errorf("the checkout of a job that sees its history has %s commits", n)
	}
	whole := sent.Swap(0)
	t.Logf("a commit alone: %d bytes; the next one: %d; the whole history: %d", alone, next, whole)
	if alone > whole/8 || next > whole/8 {
		t.Errorf("a commit alone took %d bytes, the next one %d, the whole history %d", alone, next, whole)
	}
	b.bare = true
	if b.mustCheckout(t, r.url, before); sent.Load() != 0 {
		t.Errorf("%d bytes for a commit that the whole clone has", sent.Load())
	}
}

// A server that gives only what its branches point to gives whole histories.
func TestAServerThatGivesNoCommitAlone(t *testing.T) {
	s := newServer(t)
	r, before, _ := longHistory(t, s)
	s.newest.Store(false)
	b := newBench(t)
	b.bare = true
	dir, _ := b.mustCheckout(t, r.url, before)
	wantFile(t, dir, "number", "28")
	_, _, err := b.checkout(t.Context(), r.url, strings.Repeat("0", 40))
	wantFailure(t, err, "does not exist")
}

// A merge needs the history that its commits have in common.
func TestAMergeNeedsTheHistory(t *testing.T) {
	s := newServer(t)
	r, _, last := longHistory(t, s)
	r.git("checkout", "--quiet", "-b", "side", last+"~3")
	side := r.commit("other", "from the side")
	r.push("refs/heads/side")
	b := newBench(t)
	b.bare = true
	dir, _ := b.mustCheckout(t, r.url, last, side)
	wantFile(t, dir, "number", "29")
	wantFile(t, dir, "other", "from the side")
}
