package gitsource

import (
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weirbuild/weir/workerd/supervise"
)

func TestMain(m *testing.M) {
	supervise.Main()
	os.Exit(m.Run())
}

// server serves bare repositories over HTTP with git's own program.
type server struct {
	*httptest.Server
	root    string
	fetches atomic.Int64
	newest  atomic.Bool                      // speaks protocol 2, which gives any commit by its hash
	before  atomic.Pointer[http.HandlerFunc] // looks at each request first; it has answered if it returns with a written header
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{root: t.TempDir()}
	s.newest.Store(true)
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
		s.fetches.Add(1)
	}
	if before := s.before.Load(); before != nil {
		(*before)(w, r)
		return
	}
	env := []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent"}
	if s.newest.Load() {
		env = append(env, "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
	} else {
		r.Header.Del("Git-Protocol")
	}
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	(&cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: env, Stderr: io.Discard}).ServeHTTP(w, r)
}

// repo is a bare repository on the server and a worktree to make commits in.
type repo struct {
	t         *testing.T
	url, work string
}

func (s *server) repo(t *testing.T, name string) *repo {
	t.Helper()
	r := &repo{t: t, url: s.URL + "/" + name + ".git", work: t.TempDir()}
	bare := filepath.Join(s.root, name+".git")
	r.git("init", "--quiet", "--bare", "--initial-branch=main", bare)
	r.git("init", "--quiet", "--initial-branch=main", ".")
	r.git("remote", "add", "origin", bare)
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits files (name, content, name, content...) and returns the hash.
func (r *repo) commit(files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(r.work, files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "--all", ".")
	r.git("commit", "--quiet", "--allow-empty", "--message", "change "+strings.Join(files, " "))
	return r.git("rev-parse", "HEAD")
}

func (r *repo) push(ref string) {
	r.t.Helper()
	r.git("push", "--quiet", "--force", "origin", "HEAD:"+ref)
}

// pushed commits files on the main branch and publishes them.
func (r *repo) pushed(files ...string) string {
	r.t.Helper()
	hash := r.commit(files...)
	r.push("refs/heads/main")
	return hash
}
