package processtest

import (
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// repository is a git repository that can be served, and not.
type repository struct {
	w       *world
	dir     string
	address string
	commit  string
	guard   func(http.Handler) http.Handler // nil: everybody may fetch
}

func newRepository(w *world) *repository {
	w.t.Helper()
	r := &repository{w: w, dir: filepath.Join(w.cluster.Dir, "repository"), address: freePort(w)}
	w.must(os.Mkdir(r.dir, 0o755))
	r.git("init", "--quiet")
	r.commit = r.write("hello from git\n")
	return r
}

// next makes another commit.
func (r *repository) next() string { return r.write("hello again\n") }

func (r *repository) write(text string) string {
	r.w.t.Helper()
	r.w.must(os.WriteFile(filepath.Join(r.dir, "README"), []byte(text), 0o644))
	r.git("add", ".")
	r.git("commit", "--quiet", "-m", text)
	return r.git("rev-parse", "HEAD")
}

func (r *repository) git(args ...string) string {
	r.w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=weir", "GIT_AUTHOR_EMAIL=weir@localhost", "GIT_COMMITTER_NAME=weir", "GIT_COMMITTER_EMAIL=weir@localhost")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.w.t.Fatalf("git %s: %v: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repository) url() string { return "http://" + r.address + "/.git" }

// serve serves the repository until the returned function is called.
func (r *repository) serve() (stop func()) {
	r.w.t.Helper()
	program, err := exec.LookPath("git")
	r.w.must(err)
	l, err := net.Listen("tcp", r.address)
	r.w.must(err)
	handler := http.Handler(&cgi.Handler{
		Path: program, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	})
	if r.guard != nil {
		handler = r.guard(handler)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: handler}
	served := make(chan struct{})
	go func() { // ends with stop
		defer close(served)
		_ = server.Serve(l) // always ends with an error
	}()
	return func() {
		r.w.t.Helper()
		r.w.must(server.Close())
		<-served
	}
}
