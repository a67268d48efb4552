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
	"sync"
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
	s.answer(w, r)
}

// answer lets git answer.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	env := []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent"}
	if s.newest.Load() {
		env = append(env, "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
	} else {
		r.Header.Del("Git-Protocol")
	}
	programs, err := gitPrograms()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	(&cgi.Handler{Path: filepath.Join(programs, "git-http-backend"), Env: env, Stderr: io.Discard}).ServeHTTP(w, r)
}

// gitPrograms is where git keeps its programs.
var gitPrograms = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	return strings.TrimSpace(string(out)), err
})

// repo is a bare repository on the server, and a worktree to make commits in, whose
// objects are in the bare one from the start: a push only has to name them.
type repo struct {
	t               *testing.T
	url, work, bare string
}

func (s *server) repo(t *testing.T, name string) *repo {
	t.Helper()
	r := &repo{t: t, url: s.URL + "/" + name + ".git", work: t.TempDir(), bare: filepath.Join(s.root, name+".git")}
	r.git("init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	r.git("init", "--quiet", "--initial-branch=main", ".")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=maintenance.auto", "GIT_CONFIG_VALUE_0=false")
	if args[0] != "init" && !strings.HasPrefix(args[0], "--git-dir=") {
		cmd.Env = append(cmd.Env, "GIT_OBJECT_DIRECTORY="+filepath.Join(r.bare, "objects"))
	}
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
	r.git("--git-dir="+r.bare, "update-ref", ref, r.git("rev-parse", "HEAD"))
}

// pushed commits files on the main branch and publishes them.
func (r *repo) pushed(files ...string) string {
	r.t.Helper()
	hash := r.commit(files...)
	r.push("refs/heads/main")
	return hash
}
