package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/workerd/supervise"
)

const nobody = 65534

// bench is a Source with room for checkouts.
type bench struct {
	*Source
	work  string
	count atomic.Int64
	bare  bool // no checkout needs its history
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newLimitedBench(t, 0)
}

func newLimitedBench(t *testing.T, limit int64) *bench {
	t.Helper()
	runner, err := supervise.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	base := t.TempDir()
	for _, dir := range []string{base, filepath.Dir(base)} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{Dir: filepath.Join(base, "clones"), Runner: runner, Limit: limit}
	if os.Geteuid() == 0 {
		c.JobUser = &supervise.User{Name: "nobody", UID: nobody, GID: nobody}
	}
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Source: s, work: filepath.Join(base, "work")}
	if err := os.Mkdir(b.work, 0o711); err != nil {
		t.Fatal(err)
	}
	return b
}

// checkout does what an executor does, and returns the checkout's directory.
func (b *bench) checkout(ctx context.Context, url string, commits ...string) (dir, log string, err error) {
	var out bytes.Buffer
	r := Request{URL: url, Commits: commits, Bare: b.bare}
	attempt := filepath.Join(b.work, fmt.Sprint(b.count.Add(1)))
	dir = filepath.Join(attempt, "checkout")
	if err := os.Mkdir(attempt, 0o700); err != nil {
		return "", "", err
	}
	if err := b.Prepare(ctx, r, dir, &out); err != nil {
		return dir, out.String(), err
	}
	err = filepath.WalkDir(attempt, func(path string, _ fs.DirEntry, err error) error {
		if b.jobUser == nil || err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err == nil {
		err = b.Checkout(ctx, r, Place{Dir: dir, Home: attempt, Hide: []string{b.work}, Keep: attempt}, &out)
	}
	return dir, out.String(), err
}

func (b *bench) mustCheckout(t *testing.T, url string, commits ...string) (dir, log string) {
	t.Helper()
	dir, log, err := b.checkout(t.Context(), url, commits...)
	if err != nil {
		t.Fatalf("check out %s of %s: %v\n%s", commits, url, err, log)
	}
	return dir, log
}

func wantFile(t *testing.T, dir, name, content string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(got) != content {
		t.Errorf("%s: %q, %v; want %q", name, got, err, content)
	}
}

// wantFailure checks that the source got the blame, in words that help.
func wantFailure(t *testing.T, err error, words ...string) {
	t.Helper()
	var failure *Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a Failure", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func head(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("git", "-c", "safe.directory=*", "-C", dir, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestFetchesOnlyWhatIsMissing(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	first := r.pushed("file", "one")
	second := r.pushed("file", "two", "dir/other", "x")
	for i := range 3 {
		dir, log := b.mustCheckout(t, r.url, second)
		wantFile(t, dir, "file", "two")
		wantFile(t, dir, "dir/other", "x")
		if got := head(t, dir); got != second {
			t.Errorf("HEAD is %s, want %s", got, second)
		}
		if fetched := strings.Contains(log, "Fetching"); fetched != (i == 0) {
			t.Errorf("checkout %d: log %q", i, log)
		}
	}
	before := s.fetches.Load()
	dir, _ := b.mustCheckout(t, r.url, first) // an ancestor came along
	wantFile(t, dir, "file", "one")
	if s.fetches.Load() != before {
		t.Error("fetched what was there")
	}
	third := r.pushed("file", "three")
	dir, _ = b.mustCheckout(t, r.url, third)
	wantFile(t, dir, "file", "three")
}

func TestFetchesByHashOrLooksEverywhere(t *testing.T) {
	for _, newest := range []bool{true, false} {
		t.Run(fmt.Sprintf("protocol 2 is %v", newest), func(t *testing.T) {
			s, b := newServer(t), newBench(t)
			s.newest.Store(newest)
			r := s.repo(t, "project")
			hidden := r.pushed("file", "below a branch")
			r.pushed("file", "tip")
			r.git("checkout", "--quiet", "--detach")
			proposed := r.commit("file", "proposed")
			r.push("refs/merge-requests/7/head")
			for commit, content := range map[string]string{hidden: "below a branch", proposed: "proposed"} {
				dir, _ := b.mustCheckout(t, r.url, commit)
				wantFile(t, dir, "file", content)
			}
			absent := strings.Repeat("d", 40)
			_, _, err := b.checkout(t.Context(), r.url, absent)
			wantFailure(t, err, absent, r.url, "does not exist")
		})
	}
}

func TestMergesOntoTheFirst(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	base := r.pushed("a", "1\n", "b", "1\n")
	main := r.pushed("a", "2\n")
	r.git("checkout", "--quiet", "-b", "topic", base)
	topic := r.commit("b", "2\n")
	r.push("refs/heads/topic")
	r.git("checkout", "--quiet", "-b", "clash", base)
	clash := r.commit("a", "3\n", "with blank", "x")
	r.push("refs/heads/clash")
	r.git("checkout", "--quiet", "--orphan", "other")
	unrelated := r.commit("z", "z\n")
	r.push("refs/heads/other")

	dir, log := b.mustCheckout(t, r.url, main, topic, base)
	wantFile(t, dir, "a", "2\n")
	wantFile(t, dir, "b", "2\n")
	if !strings.Contains(log, "Merging "+topic) {
		t.Errorf("log %q", log)
	}
	again, _ := b.mustCheckout(t, r.url, main, topic, base)
	if head(t, dir) != head(t, again) {
		t.Error("the same merge has two hashes")
	}
	_, _, err := b.checkout(t.Context(), r.url, main, topic, clash)
	wantFailure(t, err, clash, main, "conflict in a;")
	_, _, err = b.checkout(t.Context(), r.url, main, unrelated)
	wantFailure(t, err, "unrelated histories")
}

func TestSubmodulesRecursively(t *testing.T) {
	s, b := newServer(t), newBench(t)
	inner, outer, r := s.repo(t, "inner"), s.repo(t, "outer"), s.repo(t, "project")
	innerHash := inner.pushed("file", "inner")
	addSubmodule(outer, "deep", inner.url, innerHash)
	outerHash := outer.pushed("file", "outer")
	addSubmodule(r, "lib", "../outer.git", outerHash) // relative to the repository's own address
	commit := r.pushed("file", "project")
	dir, _ := b.mustCheckout(t, r.url, commit)
	wantFile(t, dir, "file", "project")
	wantFile(t, dir, "lib/file", "outer")
	wantFile(t, dir, "lib/deep/file", "inner")
}

// addSubmodule writes what git submodule add would write, whatever the address is.
func addSubmodule(r *repo, path, url, hash string) {
	r.t.Helper()
	config := fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", path, path, url)
	if err := os.WriteFile(filepath.Join(r.work, ".gitmodules"), []byte(config), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.work, path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.git("add", ".gitmodules")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+hash+","+path)
	r.git("commit", "--quiet", "--message", "add submodule")
}

func TestSubmodulesThatAreNotThere(t *testing.T) {
	s, b := newServer(t), newBench(t)
	sub, r := s.repo(t, "sub"), s.repo(t, "project")
	sub.pushed("file", "x")
	addSubmodule(r, "lib", sub.url, strings.Repeat("e", 40))
	r.push("refs/heads/main")
	_, _, err := b.checkout(t.Context(), r.url, r.git("rev-parse", "HEAD"))
	wantFailure(t, err, "update submodules")

	addSubmodule(r, "lib", "http://127.0.0.1:1/nothing.git", strings.Repeat("e", 40))
	r.push("refs/heads/main")
	_, _, err = b.checkout(t.Context(), r.url, r.git("rev-parse", "HEAD"))
	var failure *Failure
	if err == nil || errors.As(err, &failure) {
		t.Errorf("a submodule's server that is down: %v", err)
	}
}

func TestHostileSubmodules(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	victim := r.pushed("file", "x")
	open := t.TempDir() // anybody may write here, so only git's own rules protect it
	for _, dir := range []string{open, filepath.Dir(open)} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	touched := filepath.Join(open, "touched")
	for name, c := range map[string]struct{ url, says string }{
		"ext":         {"ext::touch% " + touched, "transport 'ext' not allowed; it may be http, https, git, ssh"},
		"file":        {"file://" + filepath.Join(s.root, "project.git"), "transport 'file' not allowed"},
		"path":        {filepath.Join(s.root, "project.git"), "transport 'file' not allowed"},
		"upload pack": {"--upload-pack=touch " + touched, "'lib'"}, // git drops the address and says that there is none
		"ssh option":  {"ssh://-oProxyCommand=touch%20" + touched + "/x", "-oProxyCommand=touch"},
		"fd":          {"fd::17/foo", "transport 'fd' not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			addSubmodule(r, "lib", c.url, victim)
			r.push("refs/heads/main")
			dir, log, err := b.checkout(t.Context(), r.url, r.git("rev-parse", "HEAD"))
			wantFailure(t, err, "update submodules", c.says)
			if _, err := os.Stat(filepath.Join(dir, "lib", "file")); err == nil {
				t.Errorf("the submodule was checked out; log %q", log)
			}
			if _, err := os.Stat(touched); err == nil {
				t.Errorf("its command was run; log %q", log)
			}
		})
	}
}

func TestCheckoutIsPrivate(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	commit := r.pushed("file", "one")
	dir, _ := b.mustCheckout(t, r.url, commit)
	info, err := os.Stat(b.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the clone cache: %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".git", "objects", "info", "alternates")); err == nil {
		t.Error("the checkout borrows objects")
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if !d.IsDir() && stat.Nlink != 1 {
			t.Errorf("%s has %d links", path, stat.Nlink)
		}
		if b.jobUser != nil && stat.Uid != nobody {
			t.Errorf("%s belongs to user %d", path, stat.Uid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if hooks, _ := filepath.Glob(filepath.Join(dir, ".git", "hooks", "*")); len(hooks) > 0 {
		t.Errorf("hooks: %v", hooks)
	}
}

func TestWhoIsToBlame(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	commit := r.pushed("file", "x")
	_, _, err := b.checkout(t.Context(), s.URL+"/no-such.git", commit)
	wantFailure(t, err, "no-such.git", "not found")
	_, _, err = b.checkout(t.Context(), "http://user:hunter2@"+strings.TrimPrefix(s.URL, "http://")+"/project.git", commit)
	wantFailure(t, err, "password")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%q repeats the password", err)
	}
	for name, answer := range map[string]int{"server error": 500, "bad gateway": 502, "too many": 429} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) })
		s.before.Store(&handler)
		_, _, err := b.checkout(t.Context(), r.url, commit)
		if failure := (*Failure)(nil); err == nil || errors.As(err, &failure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, answer := range map[string]int{"unauthorized": 401, "forbidden": 403, "not found": 404} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) })
		s.before.Store(&handler)
		_, _, err := b.checkout(t.Context(), r.url, commit)
		if failure := (*Failure)(nil); !errors.As(err, &failure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.before.Store(nil)
	b.mustCheckout(t, r.url, commit)
	later := r.pushed("file", "y")
	s.Close()
	_, log, err := b.checkout(t.Context(), r.url, later)
	if failure := (*Failure)(nil); err == nil || errors.As(err, &failure) || !strings.Contains(err.Error(), r.url) {
		t.Errorf("a server that is down: %v; log %q", err, log)
	}
	b.mustCheckout(t, r.url, commit) // what is there needs no server
}

func TestManyAtOnceFetchOnce(t *testing.T) {
	s, b := newServer(t), newBench(t)
	r := s.repo(t, "project")
	commit := r.pushed("file", "x")
	var group errgroup.Group
	for range 6 {
		group.Go(func() error {
			dir, log, err := b.checkout(t.Context(), r.url, commit)
			if err != nil {
				return fmt.Errorf("%w; log %q", err, log)
			}
			_, err = os.Stat(filepath.Join(dir, "file"))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	dir, log := b.mustCheckout(t, r.url, commit)
	wantFile(t, dir, "file", "x")
	if strings.Contains(log, "Fetching") {
		t.Errorf("fetched again: %q", log)
	}
	if n := s.fetches.Load(); n > 2 { // protocol 2 asks twice
		t.Errorf("%d requests for one commit", n)
	}
}
