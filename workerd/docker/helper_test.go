package docker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/secretdir"
	"github.com/weirbuild/weir/workerd/supervise"
)

func TestMain(m *testing.M) {
	supervise.Main()
	os.Exit(m.Run())
}

// bench is an executor on a real engine, with a registry and a git server.
type bench struct {
	*testing.T
	executor *docker.Executor
	runner   *supervise.Runner
	registry *stumbling
	dir      string
	lease    *uint64
}

// nowhere is an address at which nobody listens.
const nowhere = "127.0.0.1:1"

// newBench makes one that may push to REGISTRY/app and below.
func newBench(t *testing.T, open func(*bench) docker.Engine) *bench {
	t.Helper()
	enginetest.NeedRoot(t)
	b := &bench{T: t, dir: t.TempDir(), registry: newStumbling(t), lease: new(uint64)}
	var err error
	if b.runner, err = supervise.New(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.runner.Close)
	source, err := gitsource.New(t.Context(), gitsource.Config{Dir: filepath.Join(b.dir, "git"), Runner: b.runner})
	if err != nil {
		t.Fatal(err)
	}
	work, engine := filepath.Join(b.dir, "work"), open(b)
	secrets, err := secretdir.Open(work)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(secrets.Dir()); err != nil || len(left) != 0 {
			t.Errorf("left in memory: %v, %v", left, err)
		}
		secrets.Close()
	})
	b.executor, err = docker.New(docker.Config{Secrets: secrets, WorkDir: work, Engine: engine, Source: source,
		AllowPush: []string{b.registry.host + "/app", nowhere, "docker.io/someone"}, Grace: time.Minute, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(work); err != nil || len(left) != 0 {
			t.Errorf("left of attempts: %v, %v", left, err)
		}
	})
	return b
}

// in is the same bench for one test of several.
func (b *bench) in(t *testing.T) *bench {
	own := *b
	own.T = t
	return &own
}

// stumbling is a registry that answers with an error where it is told to.
type stumbling struct {
	host string // as the engine sees it
	here string // as the test sees it

	mu   sync.Mutex
	left int
	when func(*http.Request) bool
	hang func(*http.Request) bool // says for which requests there is no answer; nil: for none
	user string                   // who alone may write to /private; empty: everybody
	pass string
	real http.Handler
}

func (s *stumbling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.lets(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	if s.stalls(r) {
		<-r.Context().Done()
		return
	}
	if s.stumbles(r) {
		http.Error(w, "stumbled", http.StatusInternalServerError)
		return
	}
	s.real.ServeHTTP(w, r)
}

func newStumbling(t *testing.T) *stumbling {
	t.Helper()
	s := &stumbling{real: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.here = strings.TrimPrefix(server.URL, "http://")
	s.host = s.here
	if err := remote.Write(s.ref(t, "library/busybox"), enginetest.Busybox(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// lets says whether a request may be served: a private repository has one user.
func (s *stumbling) lets(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, pass, _ := r.BasicAuth()
	asks := r.URL.Path == "/v2/" || strings.Contains(r.URL.Path, "/private/") // Docker asks at /v2/ only whether it must log in
	return s.user == "" || !asks || user == s.user && pass == s.pass
}

// private gives private repositories a user, and returns the docker configuration
// with the credentials.
func (s *stumbling) private(user, pass string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.pass = user, pass
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + pass))
	return []byte(`{"auths":{"` + s.host + `":{"auth":"` + auth + `"}}}`)
}

// stumble makes the next n requests that when chooses fail.
func (s *stumbling) stumble(n int, when func(*http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.when = n, when
}

// stall gives no answer to requests that when chooses.
func (s *stumbling) stall(when func(*http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = when
}

func (s *stumbling) stalls(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hang != nil && s.hang(r)
}

func (s *stumbling) stumbles(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 || !s.when(r) {
		return false
	}
	s.left--
	return true
}

func (s *stumbling) ref(t testing.TB, text string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s.here+"/"+text, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// digest is what the registry has under a name.
func (s *stumbling) digest(t testing.TB, text string) string {
	t.Helper()
	d, err := remote.Head(s.ref(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

// project is a repository on a git server. Each content that begins with -> is a link.
type project struct {
	*bench
	work, bare, url string
}

func (b *bench) project() *project {
	b.Helper()
	root := b.TempDir()
	p := &project{bench: b, work: b.TempDir(), bare: filepath.Join(root, "project.git")}
	p.git("init", "--quiet", "--initial-branch=main", ".")
	p.git("init", "--quiet", "--bare", p.bare)
	server := httptest.NewServer(&cgi.Handler{Path: filepath.Join(p.git("--exec-path"), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, Stderr: io.Discard})
	b.Cleanup(server.Close)
	p.url = server.URL + "/project.git"
	return p
}

func (p *project) git(args ...string) string {
	p.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = p.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit adds files and gives the new commit as a job's context.
func (p *project) commit(files map[string]string) *pb.GitContext {
	p.Helper()
	for file, content := range files {
		path := filepath.Join(p.work, file)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, link := strings.CutPrefix(content, "->"); link {
			err = errors.Join(err, os.Symlink(target, path))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			p.Fatal(err)
		}
	}
	p.git("add", ".")
	p.git("commit", "--quiet", "--allow-empty", "--message", "next")
	p.git("push", "--quiet", "--force", p.bare, "HEAD:main")
	return &pb.GitContext{Url: p.url, Commits: []string{p.git("rev-parse", "HEAD")}}
}

func contents(text string) *pb.DockerJob {
	return &pb.DockerJob{Dockerfile: &pb.DockerJob_Contents{Contents: text}}
}

func inPath(path string) *pb.DockerJob {
	return &pb.DockerJob{Dockerfile: &pb.DockerJob_Path{Path: path}}
}

func (b *bench) task(git *pb.GitContext, job *pb.DockerJob) executor.Task {
	*b.lease++
	return executor.Task{Lease: *b.lease, Job: "7", Attempt: 1, Pool: "p",
		Spec: &pb.JobSpec{Git: git, Kind: &pb.JobSpec_Docker{Docker: job}}}
}

// run runs a job to its end.
func (b *bench) run(git *pb.GitContext, job *pb.DockerJob) (*pb.Outcome, string) {
	b.Helper()
	var out bytes.Buffer
	o, err := b.executor.Run(b.Context(), b.task(git, job), &out)
	if err != nil {
		b.Fatalf("%v\n%s", err, out.String())
	}
	return o, out.String()
}

// builds runs a job that must succeed, with all of some texts in its log.
func (b *bench) builds(git *pb.GitContext, job *pb.DockerJob, says ...string) *pb.Outcome {
	b.Helper()
	o, said := b.run(git, job)
	if o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		b.Errorf("%v", o)
	}
	for _, part := range says {
		if !strings.Contains(said, part) {
			b.Errorf("the log does not say %q:\n%s", part, said)
		}
	}
	return o
}

// fails runs a job that must fail for a reason of its own.
func (b *bench) fails(git *pb.GitContext, job *pb.DockerJob, says string) *pb.Outcome {
	b.Helper()
	o, said := b.run(git, job)
	if o.Kind != pb.OutcomeKind_OUTCOME_FAILED || !strings.Contains(o.Message, says) {
		b.Errorf("%v, want %q\n%s", o, says, said)
	}
	return o
}

// watched is a log that somebody waits in.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	once sync.Once
	then func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.want) {
		w.once.Do(w.then)
	}
	return len(p), nil
}

// cancelled runs a job and cancels it once its log has a text.
func (b *bench) cancelled(job *pb.DockerJob, at string) {
	b.Helper()
	ctx, cancel := context.WithCancelCause(b.Context())
	out := &watched{want: at, then: func() { cancel(executor.ErrCancelled) }}
	o, err := b.executor.Run(ctx, b.task(nil, job), out)
	if err != nil || o.Kind != pb.OutcomeKind_OUTCOME_CANCELLED {
		b.Errorf("%v, %v\n%s", o, err, out.text.String())
	}
}

// until waits for a condition.
func (b *bench) until(what string, holds func() bool) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !holds(); <-tick.C {
		if time.Since(began) > time.Minute {
			b.Fatalf("waited a minute for %s", what)
		}
	}
}

// runs says whether the machine runs a command line with a text in it.
func runs(text string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(strings.ReplaceAll(string(line), "\x00", " "), text) {
			return true
		}
	}
	return false
}

// layers is how many layers an image has.
func (s *stumbling) layers(t testing.TB, text string) int {
	t.Helper()
	img, err := remote.Image(s.ref(t, text))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return len(layers)
}
