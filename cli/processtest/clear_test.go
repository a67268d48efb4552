package processtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// TestNoValueIsAnywhereInClear: secrets go from `weir submit` to jobs of every kind,
// to registries and to git servers, and are nowhere else: in no file of a node or a
// worker, Raft log, snapshot or build log, and in no process's arguments or
// environment, neither while jobs run nor afterwards.
func TestNoValueIsAnywhereInClear(t *testing.T) {
	w := start(t, local.Config{Flags: []string{"--snapshot-entries", "16"}})
	p := &proof{vault: newVault(w, "vault"), hunt: newHunt(), mark: "mark-" + rand.Text()}
	watching, end := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { // ends with the test
		defer close(watched)
		p.watch(watching)
	}()
	defer func() { end(); <-watched; p.nothing("at any time") }()

	git := p.privateRepository()
	deploy := filepath.Join(p.shared, "deploy")
	w.must(os.WriteFile(deploy, []byte(`#!/bin/sh
what=$(cat); v=$(cat "$WEIR_SECRETS/token")
echo "in $WEIR_SECRETS"; echo "$(wc -c < "$WEIR_SECRETS/token") bytes"; echo "$what $v"; echo "$v" >&2; echo "$v" >&3
test "$what" != holds || exec sleep 100002
`), 0o755))
	more := []string{"--git-credentials", git.credentials, "--custom", "deploy=" + deploy}
	root := os.Geteuid() == 0
	if root {
		enginetest.Need(t, "runc", "runc")
		more = append(more, "--allow-obuilder", "--allow-sandbox", "--registry-mirror", "docker.io=http://"+enginetest.ServeBusybox(t))
	}
	w.worker("vault", "keeper", p.workerCap, 4, more...)

	t.Run("command", func(t *testing.T) { p.in(t).command() })
	t.Run("custom", func(t *testing.T) { p.in(t).custom() })
	t.Run("git", func(t *testing.T) { p.in(t).git(git) })
	if root {
		t.Run("spec", func(t *testing.T) { p.in(t).spec() })
		t.Run("container", func(t *testing.T) { p.in(t).container() })
		t.Run("push", func(t *testing.T) { p.in(t).push() })
	}
	p.snapshots(false)
	p.searched(afterwards, "snapshots", "logs", "log.db")
	left, err := filepath.Glob("/dev/shm/weir-secrets-*/*/token")
	if err != nil || slices.ContainsFunc(left, func(f string) bool { text, _ := os.ReadFile(f); return strings.HasPrefix(string(text), "s3cr3t-") }) {
		t.Errorf("secrets are left in memory: %q, %v", left, err)
	}
}

// afterwards a value may not be in memory either.
const afterwards = "afterwards"

// proof is a cluster with secrets, and the hunt for them.
type proof struct {
	*vault
	*hunt
	mark string // what no secret is, and everything has that a job's description or log is in
}

func (p *proof) in(t *testing.T) *proof {
	own := *p
	v := *p.vault
	v.world = p.world.in(t)
	own.vault = &v
	return &own
}

// secret makes a value to look for, and its file.
func (p *proof) secret(name string) (value, file string) {
	value, file = p.vault.secret(name)
	p.after(name, value)
	return value, file
}

func (p *proof) nothing(when string) {
	p.t.Helper()
	for _, found := range p.take() {
		p.t.Errorf("%s: %s", when, found)
	}
}

// searched looks everywhere. Of the places that are named, each node must have one
// with the mark, or two of the nodes in case of logs: else this looks in the wrong places.
func (p *proof) searched(when string, places ...string) {
	p.t.Helper()
	marked := p.files(p.t, p.cluster.Dir, p.mark, when == afterwards)
	p.processes()
	p.nothing(when)
	for _, place := range places {
		want := len(p.cluster.Nodes)
		if place == "logs" {
			want = 2
		}
		if on := nodesWith(p.cluster, marked, "/"+place); len(on) < want {
			p.t.Errorf("%s: what is no secret was found in %s of %q only, want %d nodes: %q", when, place, on, want, marked)
		}
	}
}

// running looks everywhere while a program of a job runs.
func (p *proof) running(program string) {
	p.t.Helper()
	if !slices.ContainsFunc(p.processes(), func(c string) bool { return strings.Contains(c, program) }) {
		p.t.Errorf("%s does not run now: this looks at the wrong moment", program)
	}
	p.searched("while " + program + " runs")
}

// snapshots waits until every node has written a snapshot of the present state. With
// boxes, the sealed secrets of a job must be in it; without, in none.
func (p *proof) snapshots(boxes bool) {
	p.t.Helper()
	newest := func(n *local.Node) string {
		dirs, _ := filepath.Glob(filepath.Join(n.DataDir(), "*", "snapshots", "*-*"))
		more, _ := filepath.Glob(filepath.Join(n.DataDir(), "snapshots", "*-*"))
		dirs = slices.DeleteFunc(append(dirs, more...), func(d string) bool { return strings.HasSuffix(d, ".tmp") })
		if len(dirs) == 0 {
			return ""
		}
		return slices.MaxFunc(dirs, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	}
	for _, n := range p.cluster.Nodes {
		before := newest(n)
		i := 0
		p.until("a new snapshot of "+n.Name, func() bool {
			i++
			p.client(fmt.Sprintf("filler-%s-%t-%d", n.Name, boxes, i)) // one more entry
			return newest(n) != before
		})
		text, err := os.ReadFile(filepath.Join(newest(n), "state.bin"))
		p.must(err)
		state := string(unpacked(p.t, text[snapshotHeader:]))
		if !strings.Contains(state, p.mark) || strings.Contains(state, "age-encryption.org/v1") != boxes {
			p.t.Errorf("a snapshot of %s: the job's description is in it: %v; a sealed box: %v, want %v", n.Name,
				strings.Contains(state, p.mark), !boxes, boxes)
		}
	}
}

// command prints its secret in two pieces, with everything looked at between them.
func (p *proof) command() {
	token, file := p.secret("token")
	job := p.begin(p.ci, "submit", "--pool", "vault", "--secret", "token:"+file, "--", "/bin/sh", "-c", fmt.Sprintf(
		`v=$(cat "$WEIR_SECRETS/token"); echo %s; echo "it has ${#v} bytes"; printf %%s "say ${v%%??????????}"; echo . > "%s/half"
		while ! test -e "%s/go"; do sleep 0.05; done; echo "${v#"${v%%??????????}"} said"; cat "$WEIR_SECRETS/token"`, p.mark, p.shared, p.shared))
	p.until("half of the value to be written", func() bool { return p.exists("half") })
	p.snapshots(true)
	p.searched("while a command runs", "snapshots", "log.db")
	p.touch("go")
	a := job.wait()
	p.says(a, fmt.Sprintf("%s\nit has %d bytes\nsay *** said\n***\nJob succeeded\n", p.mark, len(token)))
	id := regexp.MustCompile(`job (\d+) `).FindStringSubmatch(a.err)[1]
	shown := p.ok(p.adminAt, "job", "show", id, "-o", "json")
	p.look("weir job show", []byte(shown))
	p.look("weir logs", []byte(p.ok(p.adminAt, "logs", id)))
	if strings.Contains(shown, `"box"`) {
		p.t.Errorf("a job is shown with its sealed box: %s", shown)
	}
}

// custom gives its secret away, in its log and in its output. It has it for as long
// as it runs, also where it is cancelled.
func (p *proof) custom() {
	value, file := p.secret("token-of-custom")
	payload := filepath.Join(p.shared, "payload")
	p.must(os.WriteFile(payload, []byte("deploys with"), 0o600))
	deploy := []string{"submit", "--pool", "vault", "--kind", "deploy", "--payload", payload, "--secret", "token:" + file}
	a := p.weir(p.ci, deploy...)
	p.says(a, fmt.Sprintf("\n%d bytes\ndeploys with ***\n***", len(value)+1))
	if !strings.Contains(a.err, "output: ***\n") {
		p.t.Errorf("the output: %s", a.err)
	}
	p.look("what weir submit says", []byte(a.out+a.err))

	p.must(os.WriteFile(payload, []byte("holds"), 0o600))
	job := p.begin(p.ci, deploy...)
	p.until("the job to hold its secret", func() bool {
		return job.out.has("\nholds ***\n***\n") && len(processes("sleep\x00100002")) > 0 || job.over()
	})
	dir := regexp.MustCompile(`(?m)^in (/.*)$`).FindStringSubmatch(job.out.String())
	if dir == nil {
		p.t.Fatalf("the job does not say where its secret is:\n%s%s", job.out, job.err)
	}
	if text, err := os.ReadFile(filepath.Join(dir[1], "token")); err != nil || string(text) != value+"\n" || !inMemory(dir[1]) {
		p.t.Errorf("the secret of a job that runs: %d bytes in %s, %v; in memory: %v", len(text), dir[1], err, inMemory(dir[1]))
	}
	p.running("sleep 100002")
	job.signal(syscall.SIGINT)
	p.refused(job.wait(), 5)
	if left, err := os.ReadDir(filepath.Dir(dir[1])); err != nil || len(left) != 0 {
		p.t.Errorf("of jobs that are over there is left: %v, %v", left, err)
	}
}

// spec and container hold their secrets while all is looked at.
func (p *proof) spec() {
	_, file := p.secret("secret-of-spec")
	spec := filepath.Join(p.shared, "job.spec")
	p.must(os.WriteFile(spec, []byte(`((from busybox) (shell /bin/sh -c) (run (secrets (key (target /run/secrets/key))) (shell "echo got $(cat /run/secrets/key)")) `+
		`(run (secrets (key (target /run/secrets/key))) (shell "cat /run/secrets/key; sleep 100000")))`), 0o600))
	p.held("sleep 100000", "\ngot ***\n", "submit", "--pool", "vault", "--obuilder", spec, "--secret", "key:"+file)
}

func (p *proof) container() {
	_, file := p.secret("secret-of-container")
	p.held("sleep 100001", "\ngot ***\n", "submit", "--pool", "vault", "--image", "busybox", "--secret", "inside:"+file, "--",
		"sh", "-c", `echo "got $(cat $WEIR_SECRETS/inside)"; sleep 100001`)
}

func (p *proof) held(program, says string, argv ...string) {
	p.t.Helper()
	job := p.begin(p.ci, argv...)
	p.until("the job to use its secret", func() bool {
		return job.out.has(says) && len(processes(strings.ReplaceAll(program, " ", "\x00"))) > 0 || job.over()
	})
	p.running(program)
	job.signal(syscall.SIGINT)
	a := job.wait()
	p.refused(a, 5)
	p.look("what weir submit says", []byte(a.out+a.err))
}

// gate is a server's door: it asks who comes, and lets them wait in front of it.
type gate struct {
	user, password string
	open           chan struct{}
	waits          chan struct{} // gets a value from each that waits
}

func newGate(password string) *gate {
	return &gate{user: "robot", password: password, open: make(chan struct{}), waits: make(chan struct{}, 100)}
}

// guard asks for the password where asks says so, and stops whom stops says.
func (g *gate) guard(next http.Handler, asks, stops func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); asks(r) && (user != g.user || password != g.password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="weir"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization") // or git's server shows it in its environment
		if stops(r) {
			g.waits <- struct{}{}
			select {
			case <-g.open:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// privateRepository is one that the worker has credentials for.
type privateRepository struct {
	*repository
	*gate
	credentials string
}

func (p *proof) privateRepository() *privateRepository {
	p.t.Helper()
	password, file := p.secret("git-password")
	r := &privateRepository{repository: newRepository(p.world), gate: newGate(password), credentials: file}
	p.must(os.WriteFile(file, []byte("http://robot:"+password+"@"+r.address+"\n"), 0o600))
	r.repository.guard = func(next http.Handler) http.Handler {
		return r.gate.guard(next, func(*http.Request) bool { return true }, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/git-upload-pack") })
	}
	return r
}

// git looks at everything while git fetches with the credentials.
func (p *proof) git(r *privateRepository) {
	defer r.serve()()
	job := p.begin(p.ci, "submit", "--pool", "vault", "--repo", r.url(), "--commit", r.commit, "--", "sh", "-c", "cat README; env; cat .git/config")
	<-r.waits
	p.running("git fetch")
	close(r.open)
	a := job.wait()
	p.says(a, "\nhello from git\n")
	p.look("what weir submit says", []byte(a.out+a.err))
}

// push looks at everything while an image is pushed to a registry that asks for a
// password.
func (p *proof) push() {
	password, file := p.secret("registry-password")
	g := newGate(password)
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	private := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/team/") }
	server := httptest.NewServer(g.guard(images, private, func(r *http.Request) bool {
		return private(r) && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host+"/library/busybox", name.Insecure)
	p.must(err)
	p.must(remote.Write(ref, enginetest.Busybox(p.t)))
	p.must(os.WriteFile(file, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("robot:"+password))), 0o600))
	printed, token := p.secret("secret-of-dockerfile")

	daemon := dockertest.StartBuildKit(p.t, host)
	p.t.Setenv("PATH", daemon.Bin+":"+os.Getenv("PATH"))
	p.worker("vault", "pusher", p.workerCap, 4, "--docker", "buildkit", "--buildkit-addr", daemon.Addr, "--allow-push", host+"/team")
	dockerfile := filepath.Join(p.shared, "Dockerfile")
	p.must(os.WriteFile(dockerfile, []byte("FROM busybox\nRUN --mount=type=secret,id=token echo \"got $(cat /run/secrets/token)\"\n"), 0o600))
	job := p.begin(p.ci, "submit", "--pool", "vault", "--dockerfile-from", dockerfile, "--push", host+"/team/app:1",
		"--secret", "docker-config:"+file, "--secret", "token:"+token)
	select {
	case <-g.waits:
	case <-job.done:
	}
	p.running("buildctl")
	close(g.open)
	a := job.wait()
	p.says(a, "\ngot ***\n")
	engine := newHunt()
	engine.after("registry-password", password)
	engine.after("secret-of-dockerfile", printed)
	engine.files(p.t, filepath.Dir(strings.TrimPrefix(daemon.Addr, "unix://")), p.mark, true)
	for _, found := range engine.take() {
		p.t.Errorf("on the disk of the engine: %s", found)
	}
	if !strings.Contains(a.err, "output: "+host+"/team/app@sha256:") {
		p.t.Errorf("exit code %d\n%s", a.code, a.err)
	}
	p.look("what weir submit says", []byte(a.out+a.err))
	p.privateBase(host+"/team/app:1", file)
}

// privateBase uses an image that demands a login as a base.
func (p *proof) privateBase(image, login string) {
	p.t.Helper()
	spec := filepath.Join(p.shared, "private.spec")
	p.must(os.WriteFile(spec, []byte("((from "+image+") (shell /bin/sh -c) (run (shell \"echo on private\")))"), 0o600))
	for _, kind := range [][]string{{"--obuilder", spec}, {"--image", image, "--", "echo", "on private"}} {
		argv := []string{"submit", "--pool", "vault"}
		p.refused(p.begin(p.ci, append(argv, kind...)...).wait(), 1, "the registry refuses access")
		a := p.begin(p.ci, append(append(argv, "--secret", "docker-config:"+login), kind...)...).wait()
		p.says(a, "\non private\n")
		p.look("what weir submit says", []byte(a.out+a.err))
	}
}
