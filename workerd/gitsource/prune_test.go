package gitsource

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A clone of noisy's takes more than noisySize and less than half again as much.
const noisySize = 400 << 10

// noisy is a repository that git cannot make small.
func (s *server) noisy(t *testing.T, name string) (url, commit string) {
	t.Helper()
	r := s.repo(t, name)
	noise := make([]byte, noisySize)
	rand.Read(noise)
	if err := os.WriteFile(filepath.Join(r.work, "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	return r.url, r.pushed()
}

// fetches says whether a checkout had to fetch.
func (b *bench) fetches(t *testing.T, s *server, url, commit string) bool {
	t.Helper()
	before := s.fetches.Load()
	b.mustCheckout(t, url, commit)
	return s.fetches.Load() > before
}

func TestPrunesWhatWasUsedLongestAgo(t *testing.T) {
	s, b := newServer(t), newLimitedBench(t, 3*noisySize)
	url := map[string]string{}
	commit := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		url[name], commit[name] = s.noisy(t, name)
	}
	for _, step := range []struct {
		name    string
		fetches bool
	}{
		{"a", true}, {"b", true}, {"a", false},
		{"c", true}, // b was used longest ago
		{"a", false}, {"c", false},
		{"b", true}, // and now a
		{"c", false}, {"a", true},
	} {
		if got := b.fetches(t, s, url[step.name], commit[step.name]); got != step.fetches {
			t.Fatalf("a checkout of %s fetches: %v, want %v", step.name, got, step.fetches)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "*")); len(left) != 4 {
		t.Errorf("the cache has %q, want two clones and their locks", left)
	}
}

// The clone of a job that is still being packed from, and the newest, stay however
// small the limit is.
func TestPrunesNothingThatIsUsed(t *testing.T) {
	s, b := newServer(t), newLimitedBench(t, 1)
	usedURL, usedCommit := s.noisy(t, "used")
	b.mustCheckout(t, usedURL, usedCommit)
	used := b.cloneOf(Request{URL: usedURL, Commits: []string{usedCommit}}, nil)
	unlock, err := used.lock(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	lastURL, lastCommit := s.noisy(t, "last")
	b.mustCheckout(t, lastURL, lastCommit)
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.fetches(t, s, usedURL, usedCommit) {
		t.Error("a clone was pruned while it was in use")
	}
	if b.fetches(t, s, lastURL, lastCommit) {
		t.Error("the clone that was used last was pruned")
	}
	unlock()
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !b.fetches(t, s, usedURL, usedCommit) {
		t.Error("a clone over the limit was not pruned once nobody used it")
	}
}

// Clones that are pruned under jobs that wait for them, fetch and pack: every
// checkout is whole all the same.
func TestPrunesAmongManyJobs(t *testing.T) {
	s, b := newServer(t), newLimitedBench(t, 1)
	var urls, commits []string
	for _, name := range []string{"a", "b", "c"} {
		url, commit := s.noisy(t, name)
		urls, commits = append(urls, url), append(commits, commit)
	}
	var jobs errgroup.Group
	for i := range 12 {
		jobs.Go(func() error {
			dir, log, err := b.checkout(t.Context(), urls[i%len(urls)], commits[i%len(urls)])
			if err != nil {
				t.Log(log)
				return err
			}
			_, err = os.Stat(filepath.Join(dir, "noise"))
			return err
		})
	}
	if err := jobs.Wait(); err != nil {
		t.Error(err)
	}
	b.fetches(t, s, urls[0], commits[0])
	if b.fetches(t, s, urls[0], commits[0]) {
		t.Error("the clone that was just made is not used")
	}
}

func TestStartRemovesHalfClones(t *testing.T) {
	s, b := newServer(t), newLimitedBench(t, 0)
	url, commit := s.noisy(t, "a")
	b.mustCheckout(t, url, commit)
	bare := b.cloneOf(Request{URL: url, Commits: []string{commit}}, nil).bare
	for _, dir := range []string{bare + half, bare + gone, filepath.Join(b.dir, "other.git"+gone)} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(t.Context(), Config{Dir: b.dir, Runner: b.run}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "*.git*")); len(left) != 1 || left[0] != bare {
		t.Errorf("after a start the cache has %q, want only %s", left, bare)
	}
}
