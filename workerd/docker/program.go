package docker

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/weirbuild/weir/workerd/supervise"
)

// Program is an engine that drives Docker's daemon with the program docker.
type Program struct {
	program  string
	version  string // of the client
	buildkit bool   // the client can build with BuildKit
	runner   *supervise.Runner

	// pushing are held while an image has the name under which it is pushed: the
	// daemon knows one image of a name.
	pushing [64]sync.Mutex
}

var _ Engine = (*Program)(nil)

// OpenProgram finds docker, and asks the daemon whether it is there.
func OpenProgram(ctx context.Context, runner *supervise.Runner) (*Program, error) {
	program, err := exec.LookPath("docker")
	if err != nil {
		return nil, fmt.Errorf("find docker: %w: install it", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, fmt.Errorf("find docker: %w", err)
	}
	p := &Program{program: program, runner: runner}
	versions, ok, err := p.ask(ctx, "version", "--format", "{{.Client.Version}} {{.Server.Version}}")
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("ask Docker's daemon: %s: start it, or name its address in DOCKER_HOST", versions)
	}
	p.version, _, _ = strings.Cut(versions, " ")
	p.buildkit, err = p.hasBuildKit(ctx)
	return p, err
}

func (p *Program) String() string {
	if p.buildkit {
		return "Docker " + p.version + " with BuildKit"
	}
	return "Docker " + p.version
}

// hasBuildKit says whether this client can build with BuildKit: those before 23 do
// it themselves, later ones need a plugin.
func (p *Program) hasBuildKit(ctx context.Context) (bool, error) {
	first, _, _ := strings.Cut(p.version, ".")
	if major, err := strconv.Atoi(first); err == nil && major < 23 {
		return true, nil
	}
	_, ok, err := p.ask(ctx, "buildx", "version")
	return ok, err
}

// ask runs docker for the last line of what it says.
func (p *Program) ask(ctx context.Context, args ...string) (said string, ok bool, err error) {
	var out tail
	exit, err := p.runner.Run(ctx, supervise.Command{Argv: append([]string{p.program}, args...), Env: p.env(), Dir: "/"}, &out)
	return out.last(), exit.Ok(), err
}

func (p *Program) env(more ...string) []string {
	env := append(basicEnv(), more...)
	for _, name := range []string{"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Build implements Engine.
func (p *Program) Build(ctx context.Context, r Request, out io.Writer) error {
	job := r.Job
	if job.GetCacheTo() != "" {
		return failed("this worker's engine is Docker, which cannot export a cache: use a worker with --docker=buildkit")
	}
	args := []string{"build", "--iidfile", p.imageFile(r), "--file", r.Dockerfile}
	modern := p.buildkit && !job.GetSquash() // only the classic builder squashes
	if modern {
		args = append(args, "--progress", "plain")
	}
	if len(r.Secrets) > 0 && !modern {
		return failed("Docker's classic builder cannot give secrets to steps: leave out --squash, or use a worker that has BuildKit")
	}
	args = append(args, r.secretFlags()...)
	if job.GetSquash() {
		args = append(args, "--squash")
	}
	if job.GetTarget() != "" {
		args = append(args, "--target", job.Target)
	}
	if job.GetPlatform() != "" {
		args = append(args, "--platform", job.Platform)
	}
	for _, a := range job.GetBuildArgs() {
		args = append(args, "--build-arg", a.GetName()+"="+a.GetValue())
	}
	for _, c := range job.GetCacheFrom() {
		args = append(args, "--cache-from", c)
	}
	_, err := p.run(ctx, r, modern, out, append(args, r.Context)...)
	return err
}

func (p *Program) imageFile(r Request) string { return filepath.Join(r.Scratch, "image") }

// run runs docker with the build's own configuration. Its output goes to out, and
// the end of it is said.
func (p *Program) run(ctx context.Context, r Request, modern bool, out io.Writer, args ...string) (said *tail, err error) {
	said = &tail{}
	engine := "DOCKER_BUILDKIT=0"
	if modern {
		engine = "DOCKER_BUILDKIT=1"
	}
	exit, err := p.runner.Run(ctx, supervise.Command{Argv: append([]string{p.program, "--config", r.ConfigDir()}, args...),
		Env: p.env(engine, "HOME="+r.Scratch), Dir: r.Scratch, Grace: r.Grace, Kill: r.Kill}, io.MultiWriter(out, said))
	switch {
	case err != nil:
		return said, err
	case ctx.Err() != nil:
		return said, context.Cause(ctx)
	case exit.Ok():
		return said, nil
	}
	return said, p.fault(said.last())
}

// dockerExits are the ways in which docker's builders tell of a step's exit code.
var dockerExits = regexp.MustCompile(`(?:returned a non-zero code: |exit code: )([0-9]+)`)

// fault says why docker failed, and whose fault that is.
func (p *Program) fault(reason string) error {
	if m := dockerExits.FindStringSubmatch(reason); m != nil {
		code, err := strconv.Atoi(m[1])
		if err != nil {
			code = 0
		}
		return &Failure{Text: oneLine(reason), ExitCode: code}
	}
	switch {
	case strings.Contains(reason, "annot connect to the Docker daemon"), strings.Contains(reason, "error during connect"):
		return fmt.Errorf("docker: %s", reason)
	case stumbles(reason):
		return &Stumble{oneLine(reason)}
	}
	return &Failure{Text: oneLine(reason)}
}

var pushedDigest = regexp.MustCompile(`digest: (sha256:[0-9a-f]{64}) `)

// Push implements Engine.
func (p *Program) Push(ctx context.Context, r Request, out io.Writer) (string, error) {
	image, err := os.ReadFile(p.imageFile(r))
	if err != nil {
		return "", fmt.Errorf("read which image docker has built: %w", err)
	}
	id := strings.TrimSpace(string(image))
	lock := p.lockFor(r.Job.GetPush())
	lock.Lock()
	defer lock.Unlock()
	for _, name := range []string{keptName(id), r.Job.GetPush()} {
		if _, err := p.run(ctx, r, false, out, "tag", id, name); err != nil {
			return "", err
		}
	}
	said, err := p.run(ctx, r, false, out, "push", r.Job.GetPush())
	// The name has done its work. The image stays, as a cache for the next build.
	_, _ = p.run(context.WithoutCancel(ctx), r, false, io.Discard, "rmi", "--no-prune", r.Job.GetPush())
	if err != nil {
		return "", err
	}
	m := pushedDigest.FindSubmatch(*said)
	if m == nil {
		return "", fmt.Errorf("read what docker says of the push: it names no digest: %s", said.last())
	}
	return string(m[1]), nil
}

// Forget implements Engine.
func (p *Program) Forget(ctx context.Context, r Request) error {
	image, err := os.ReadFile(p.imageFile(r))
	if err != nil {
		return fmt.Errorf("read which image docker has built: %w", err)
	}
	_, err = p.run(ctx, r, false, io.Discard, "rmi", strings.TrimSpace(string(image)))
	return err
}

// keptName is a name that keeps a pushed image in the daemon's cache.
func keptName(id string) string {
	_, hash, _ := strings.Cut(id, ":")
	return "weir-built:" + hash[:min(12, len(hash))]
}

// lockFor is the lock of an image's name, which it may share with others.
func (p *Program) lockFor(name string) *sync.Mutex {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return &p.pushing[h.Sum32()%uint32(len(p.pushing))]
}
