package gitsource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cloneDir is the one clone of the cache.
func (b *bench) cloneDir(t *testing.T) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(b.dir, "*.git"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("clones: %v, %v", dirs, err)
	}
	return dirs[0]
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(file, 0o644)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCrashLeftovers does to a clone what a crash can do.
func TestCrashLeftovers(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	one := r.pushed("file", "one", "big", strings.Repeat("some text to pack ", 500))
	b.mustCheckout(t, r.url, one)
	two := r.pushed("file", "two")
	clone, sound := b.cloneDir(t), t.TempDir()
	if err := os.CopyFS(sound, os.DirFS(clone)); err != nil {
		t.Fatal(err)
	}
	packs := func(t *testing.T, clone string) []string {
		files, _ := filepath.Glob(filepath.Join(clone, "objects/pack/*.pack"))
		if len(files) == 0 {
			t.Fatal("the clone has no pack")
		}
		return files
	}
	for name, harm := range map[string]func(t *testing.T, clone string){
		"stale locks": func(t *testing.T, clone string) {
			for _, file := range []string{"HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock", "refs/weir/x.lock", "gc.pid", "objects/pack/tmp_pack_1"} {
				write(t, filepath.Join(clone, file), "")
			}
		},
		"half a clone": func(t *testing.T, clone string) { write(t, clone+".new/HEAD", "nonsense") },
		"empty head":   func(t *testing.T, clone string) { write(t, filepath.Join(clone, "HEAD"), "") },
		"bad config":   func(t *testing.T, clone string) { write(t, filepath.Join(clone, "config"), "[core\x00") },
		"no config":    func(t *testing.T, clone string) { os.Remove(filepath.Join(clone, "config")) },
		"no objects":   func(t *testing.T, clone string) { os.RemoveAll(filepath.Join(clone, "objects")) },
		"nothing":      func(t *testing.T, clone string) { os.RemoveAll(clone) },
		"a file":       func(t *testing.T, clone string) { os.RemoveAll(clone); write(t, clone, "") },
		"empty packs": func(t *testing.T, clone string) {
			for _, pack := range packs(t, clone) {
				write(t, pack, "")
			}
		},
		"short packs": func(t *testing.T, clone string) {
			for _, pack := range packs(t, clone) {
				data, err := os.ReadFile(pack)
				if err != nil {
					t.Fatal(err)
				}
				write(t, pack, string(data[:len(data)/2]))
			}
		},
		"bad refs": func(t *testing.T, clone string) {
			refs, _ := filepath.Glob(filepath.Join(clone, "refs/weir/*"))
			for _, ref := range refs {
				write(t, ref, "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, dir := range []string{clone, clone + half} {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.CopyFS(clone, os.DirFS(sound)); err != nil {
				t.Fatal(err)
			}
			harm(t, clone)
			dir, _ := b.mustCheckout(t, r.url, two)
			wantFile(t, dir, "file", "two")
			dir, _ = b.mustCheckout(t, r.url, one)
			wantFile(t, dir, "file", "one")
		})
	}
}

// TestCancelledFetch stops a fetch that hangs; the next one is not hindered.
func TestCancelledFetch(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	commit := r.pushed("file", "x")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel(gone)
		<-r.Context().Done() // the client has hung up
	})
	s.before.Store(&hang)
	if _, _, err := b.checkout(ctx, r.url, commit); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	s.before.Store(nil)
	b.mustCheckout(t, r.url, commit)
}

func TestLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), file, alone, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	waited := 0
	_, err = lock(ctx, file, shared, func() error { waited++; cancel(gone); return nil })
	if !errors.Is(err, gone) || waited != 1 {
		t.Errorf("a lock that another holds: %v, waited %d", err, waited)
	}
	unlock()
	for range 2 {
		unlock, err := lock(t.Context(), file, shared, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
	}
	if _, err := lock(t.Context(), file, alone, func() error { return errBusy }); !errors.Is(err, errBusy) {
		t.Errorf("alone beside readers: %v", err)
	}
}

func TestMaintain(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	first := r.pushed("file", "0")
	b.mustCheckout(t, r.url, first)
	clone := b.cloneDir(t)
	last := first
	for i := range 21 { // what as many fetches leave
		last = r.pushed("file", fmt.Sprint(i+1))
		r.git("--git-dir="+clone, "-c", "fetch.unpackLimit=1", "fetch", "--quiet", "--no-write-fetch-head", r.bare, last+":refs/weir/"+last)
	}
	packs := func() int {
		files, _ := filepath.Glob(filepath.Join(b.cloneDir(t), "objects/pack/*.pack"))
		return len(files)
	}
	before := packs()
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := packs(); after >= before || after == 0 {
		t.Errorf("%d packs became %d", before, after)
	}
	for commit, content := range map[string]string{first: "0", last: "21"} {
		dir, log := b.mustCheckout(t, r.url, commit)
		wantFile(t, dir, "file", content)
		if strings.Contains(log, "Fetching") {
			t.Errorf("the commit of %s was lost", content)
		}
	}
}
