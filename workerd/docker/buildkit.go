package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/workerd/supervise"
)

// DefaultBuildkitAddr is where buildkitd listens when nobody says otherwise.
const DefaultBuildkitAddr = "unix:///run/buildkit/buildkitd.sock"

// BuildKit is an engine that drives buildkitd with the program buildctl.
type BuildKit struct {
	addr    string
	program string
	runner  *supervise.Runner
	kept    *stepLogs
	history *history
}

var _ Engine = (*BuildKit)(nil)

// OpenBuildKit finds buildctl, and asks the daemon whether it is there. The logs of
// steps are kept in dir.
func OpenBuildKit(ctx context.Context, addr, dir string, runner *supervise.Runner) (*BuildKit, error) {
	program, err := exec.LookPath("buildctl")
	if err != nil {
		return nil, fmt.Errorf("find buildctl: %w: install BuildKit", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, fmt.Errorf("find buildctl: %w", err)
	}
	b := &BuildKit{addr: addr, program: program, runner: runner}
	if b.kept, err = openStepLogs(dir, keepStepLogs); err != nil {
		return nil, err
	}
	var said tail
	exit, err := b.runner.Run(ctx, supervise.Command{Argv: []string{program, "--addr", addr, "debug", "workers"}, Env: basicEnv(), Dir: "/"}, &said)
	if err != nil {
		return nil, err
	}
	if !exit.Ok() {
		return nil, fmt.Errorf("ask buildkitd at %s: %s: start it, or name its address with --buildkit-addr", addr, said.last())
	}
	if b.history, err = openHistory(b, dir); err != nil {
		return nil, err
	}
	return b, b.history.forget(ctx, b.history.worker) // of builds that a crash has ended
}

// Build implements Engine.
func (b *BuildKit) Build(ctx context.Context, r Request, out io.Writer) error {
	if r.Job.GetSquash() {
		return failed("this worker's engine is BuildKit, which cannot squash: build stages and copy from them, or use a worker with --docker=docker")
	}
	n := &narrator{out: out, kept: b.kept, sources: r.Sources, hide: r.Hide}
	args := b.arguments(r)
	if r.Job.GetCacheTo() != "" {
		args = append(args, "--export-cache", "type=registry,mode=max,ref="+r.Job.CacheTo)
	}
	return b.run(ctx, r, args, n)
}

// Push implements Engine: the build once more, which is all cached, and then out.
func (b *BuildKit) Push(ctx context.Context, r Request, out io.Writer) (string, error) {
	report := filepath.Join(r.Scratch, "pushed.json")
	args := append(b.arguments(r), "--output", "type=image,push=true,name="+r.Job.GetPush(), "--metadata-file", report)
	if err := b.run(ctx, r, args, &narrator{out: out, quiet: true}); err != nil {
		return "", err
	}
	text, err := os.ReadFile(report)
	var pushed struct {
		Digest string `json:"containerimage.digest"`
	}
	if err == nil {
		err = json.Unmarshal(text, &pushed)
	}
	if err == nil && pushed.Digest == "" {
		err = errors.New("it names no digest")
	}
	if err != nil {
		return "", fmt.Errorf("read what buildctl reports of the push: %w", err)
	}
	return pushed.Digest, nil
}

func (b *BuildKit) arguments(r Request) []string {
	args := []string{b.program, "--addr", b.addr, "build", "--progress=rawjson", "--frontend", "dockerfile.v0",
		"--local", "context=" + r.Context, "--local", "dockerfile=" + filepath.Dir(r.Dockerfile), "--opt", "filename=" + filepath.Base(r.Dockerfile)}
	if t := r.Job.GetTarget(); t != "" {
		args = append(args, "--opt", "target="+t)
	}
	if p := r.Job.GetPlatform(); p != "" {
		args = append(args, "--opt", "platform="+p)
	}
	for _, a := range r.Job.GetBuildArgs() {
		args = append(args, "--opt", "build-arg:"+a.GetName()+"="+a.GetValue())
	}
	if r.CgroupParent != "" {
		args = append(args, "--opt", "cgroup-parent=/"+r.CgroupParent)
	}
	args = append(args, r.secretFlags()...)
	for _, c := range r.Job.GetCacheFrom() {
		args = append(args, "--import-cache", "type=registry,ref="+c)
	}
	return args
}

func (b *BuildKit) run(ctx context.Context, r Request, args []string, n *narrator) (err error) {
	mark := b.history.mark()
	defer func() {
		if left := b.history.forget(ctx, mark); err == nil {
			err = left
		} else if left != nil {
			err = fmt.Errorf("%w; %v", err, left)
		}
	}()
	exit, err := b.runner.Run(ctx, supervise.Command{Argv: append(args, "--opt", markOption+"="+mark), Env: append(basicEnv(), "DOCKER_CONFIG="+r.ConfigDir(), "HOME="+r.Scratch),
		Dir: r.Scratch, Grace: r.Grace, Kill: r.Kill}, n)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case exit.Ok():
		return nil
	}
	return n.fault()
}

func basicEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
}

// What buildctl's own error begins with, and that of a build that failed. Without the
// latter it could not build at all.
const (
	programError = "error: "
	solveError   = programError + "failed to solve: "
)

// fault says why a build has failed, and whose fault that is.
func (n *narrator) fault() error {
	reason, ok := strings.CutPrefix(n.said, solveError)
	if !ok || strings.HasPrefix(reason, "Unavailable: ") {
		return fmt.Errorf("buildctl ended early: %s", n.said)
	}
	if n.err != "" && exitCode(reason) == 0 {
		reason = n.err // without what BuildKit's own layers add
	}
	reason = oneLine(reason)
	if stumbles(reason) {
		return &Stumble{reason}
	}
	return &Failure{Text: reason, ExitCode: exitCode(reason)}
}

var exitCodes = regexp.MustCompile(`did not complete successfully: exit code: ([0-9]+)`)

func exitCode(reason string) int {
	m := exitCodes.FindStringSubmatch(reason)
	if m == nil {
		return 0
	}
	code, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return code
}

// stumbling is what engines say of a registry that is out of order or out of reach
// just now.
var stumbling = regexp.MustCompile(`(?i)unexpected (http )?status.*: (5[0-9][0-9]|429|408)\b|toomanyrequests|connection (refused|reset)|i/o timeout|TLS handshake timeout|no route to host|temporary failure in name resolution|unexpected EOF|server misbehaving|deadline exceeded`)

// stumbles tells a fault of a registry from one of the build. What a step's program
// says never counts.
func stumbles(reason string) bool {
	return !exitCodes.MatchString(reason) && stumbling.MatchString(reason)
}

// tail keeps the end of what a program says.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-4096):]
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(*t)), "\n")
	return lines[len(lines)-1]
}
