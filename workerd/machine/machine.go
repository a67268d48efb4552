// Package machine tells what a machine can run as a worker, and how to mend what it
// cannot.
//
// It promises to try the real parts (it mounts, asks daemons, makes namespaces) and to
// leave nothing of that. It refuses to mend anything itself.
package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/gitsource"
	"github.com/weirbuild/weir/workerd/obuilder/overlay"
	"github.com/weirbuild/weir/workerd/room"
	"github.com/weirbuild/weir/workerd/supervise"
)

// Config says what to look at.
type Config struct {
	Dir          string // where the worker would keep its state; it need not be there
	BuildkitAddr string
	MinFree      int64 // bytes
}

// Part is something that some kinds of job need.
type Part struct {
	Name string
	OK   bool
	Says string // what was found, or what is wrong
	Mend string // what to do about it; empty when it is fine
}

// Kind is a kind of job.
type Kind struct {
	Name    string
	Missing []string // names of parts that it needs
}

// needs are the parts without which a kind cannot be run. With "a or b" one of them
// will do.
var needs = []struct {
	kind  string
	parts []string
}{
	{"command", []string{"git", "processes", "disk"}},
	{"custom", []string{"git", "processes", "disk"}},
	{"sandbox", []string{"git", "processes", "disk", "root", "runc", "cgroups"}},
	{"obuilder", []string{"git", "processes", "disk", "root", "runc", "cgroups"}},
	{"docker", []string{"git", "processes", "disk", "buildkit or docker"}},
}

// Report is what Check has found.
type Report struct {
	Parts []Part
	Kinds []Kind
}

// Check looks at the machine.
func Check(ctx context.Context, c Config) (_ *Report, err error) {
	scratch, err := scratchIn(c.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	k := &check{Config: c, scratch: scratch}
	defer k.close()
	r := &Report{}
	for _, look := range []func(context.Context) Part{k.root, k.disk, k.processes, k.git, k.runc, k.cgroups, k.overlayfs, k.buildkit, k.docker} {
		r.Parts = append(r.Parts, look(ctx))
	}
	r.Kinds = kindsOf(r.Parts)
	return r, nil
}

func kindsOf(parts []Part) []Kind {
	works := map[string]bool{}
	for _, p := range parts {
		works[p.Name] = p.OK
	}
	var kinds []Kind
	for _, n := range needs {
		k := Kind{Name: n.kind}
		for _, part := range n.parts {
			a, b, _ := strings.Cut(part, " or ")
			if !works[a] && !works[b] {
				k.Missing = append(k.Missing, part)
			}
		}
		kinds = append(kinds, k)
	}
	return kinds
}

// scratchIn makes a directory on the disk where the state would be.
func scratchIn(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the disk of the state directory: name another with --state-dir")
		}
		dir = filepath.Dir(dir)
	}
	scratch, err := os.MkdirTemp(dir, ".weir-check-")
	if err != nil {
		return "", fmt.Errorf("make a directory to try things in: %w", err)
	}
	return scratch, nil
}

// check is one run of Check.
type check struct {
	Config
	scratch string
	runner  *supervise.Runner // nil: there can be none
}

func (k *check) close() {
	if k.runner != nil {
		k.runner.Close()
	}
}

func fine(name, format string, args ...any) Part {
	return Part{Name: name, OK: true, Says: fmt.Sprintf(format, args...)}
}

func (k *check) root(context.Context) Part {
	if os.Geteuid() == 0 {
		return fine("root", "yes")
	}
	return Part{Name: "root", Says: "this is not root", Mend: "run the worker as root, with --job-user for the jobs: containers and mounts need it"}
}

func (k *check) disk(context.Context) Part {
	if why := room.Short(k.scratch, k.MinFree); why != "" {
		return Part{Name: "disk", Says: why, Mend: "make room, name another --state-dir, or lower --min-free"}
	}
	return fine("disk", "at least %v free", bytesize.Size(k.MinFree))
}

// processes: a job's processes end with it in any mode; the best one hides more.
func (k *check) processes(ctx context.Context) Part {
	r, err := supervise.New(ctx)
	if err != nil {
		return Part{Name: "processes", Says: err.Error(), Mend: "allow this user to start processes"}
	}
	k.runner = r
	if r.Lesser != nil {
		return fine("processes", "each job in a %s only: %v", r.Mode, r.Lesser)
	}
	return fine("processes", "each job in a %s", r.Mode)
}

func (k *check) git(ctx context.Context) Part {
	if k.runner == nil {
		return Part{Name: "git", Says: "not tried: it runs like a job", Mend: "see processes"}
	}
	if _, err := gitsource.New(ctx, gitsource.Config{Dir: filepath.Join(k.scratch, "git"), Runner: k.runner}); err != nil {
		return Part{Name: "git", Says: err.Error(), Mend: "apt-get install git (or your system's package)"}
	}
	return k.version(ctx, "git", "--version")
}

func (k *check) runc(ctx context.Context) Part {
	if _, err := exec.LookPath("runc"); err != nil {
		return Part{Name: "runc", Says: err.Error(), Mend: "apt-get install runc (or your system's package)"}
	}
	return k.version(ctx, "runc", "--version")
}

// version is the first line of what a program says of itself.
func (k *check) version(ctx context.Context, program, flag string) Part {
	out, err := exec.CommandContext(ctx, program, flag).Output()
	if err != nil {
		return Part{Name: program, Says: fmt.Sprintf("%s %s: %v", program, flag, err), Mend: "install it again"}
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return fine(program, "%s", first)
}

func (k *check) cgroups(context.Context) Part { return cgroups(os.ReadFile) }

// overlayfs is no need: copies take its place.
func (k *check) overlayfs(context.Context) Part {
	s, err := overlay.Open(filepath.Join(k.scratch, "overlay"))
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return Part{Name: "overlayfs", Says: err.Error(), Mend: "nothing must be done, but steps of OBuilder jobs will copy their base, which takes time and room: use Linux 6.8, root, and a local file system such as ext4 or xfs"}
	}
	return fine("overlayfs", "works in %s", filepath.Dir(k.scratch))
}

func (k *check) buildkit(ctx context.Context) Part {
	if k.runner == nil {
		return Part{Name: "buildkit", Says: "not tried: it is driven like a job", Mend: "see processes"}
	}
	if _, err := docker.OpenBuildKit(ctx, k.BuildkitAddr, filepath.Join(k.scratch, "steps"), k.runner); err != nil {
		return Part{Name: "buildkit", Says: err.Error(), Mend: "install buildctl and run buildkitd, or name its address with --buildkit-addr"}
	}
	return fine("buildkit", "answers at %s", k.BuildkitAddr)
}

func (k *check) docker(ctx context.Context) Part {
	if k.runner == nil {
		return Part{Name: "docker", Says: "not tried: it is driven like a job", Mend: "see processes"}
	}
	d, err := docker.OpenProgram(ctx, k.runner)
	if err != nil {
		return Part{Name: "docker", Says: err.Error(), Mend: "install docker.io and start its daemon, or name its address in DOCKER_HOST"}
	}
	return fine("docker", "%s", d)
}
