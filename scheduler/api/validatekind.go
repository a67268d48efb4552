package api

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
)

// Limits of single kinds of job.
const (
	MaxReference = 512 // bytes of an image's name
	MaxBuildArgs = MaxEnv
	MaxCaches    = 16       // references to import a build cache from
	MinCPUMillis = 10       // the least that the kernel gives
	MaxCPUMillis = 10 << 20 // some ten thousand processors
	MinMemory    = 6 << 20  // less starts no container
	MaxMemory    = 1 << 50
	maxPlatform  = 64
	hostNetwork  = "host"
	noNetwork    = "none"
	unknownKind  = "the job is of a kind that this cluster does not know: upgrade the nodes, or use a command or an OBuilder job"
)

// checkKind checks what the job does.
func checkKind(s *pb.JobSpec) error {
	switch kind := s.Kind.(type) {
	case *pb.JobSpec_Command:
		return checkCommand(kind.Command)
	case *pb.JobSpec_Obuilder:
		return checkOBuilder(kind.Obuilder)
	case *pb.JobSpec_Sandbox:
		return checkSandbox(kind.Sandbox)
	case *pb.JobSpec_Docker:
		return checkDocker(kind.Docker, s.Git != nil)
	case *pb.JobSpec_Custom:
		return checkCustom(kind.Custom)
	}
	return invalid(unknownKind)
}

func checkCommand(c *pb.CommandJob) error {
	argv := c.GetArgv()
	if len(argv) == 0 || argv[0] == "" {
		return invalid("the job has no command: give one after --")
	}
	if len(argv) > MaxArgs {
		return invalid("the command has %d arguments, at most %d are allowed", len(argv), MaxArgs)
	}
	size := 0
	for i, a := range argv {
		if strings.ContainsRune(a, 0) {
			return invalid("argument %d of the command contains a zero byte", i)
		}
		size += len(a) + 1
	}
	if size > MaxArgBytes {
		return invalid("the command's arguments are %d bytes, at most %d are allowed: put long ones in a file of the repository", size, MaxArgBytes)
	}
	if err := checkEnv(c.GetEnv()); err != nil {
		return err
	}
	return checkDir(c.GetDir())
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// reservedEnv begins the names that only the worker gives.
const reservedEnv = "WEIR_"

func checkEnv(env []*pb.EnvVar) error {
	for _, e := range env {
		if strings.HasPrefix(e.GetName(), reservedEnv) {
			return invalid("environment variable %s: names that begin with %s are the worker's", quote(e.Name), reservedEnv)
		}
	}
	return checkVariables("environment variable", env)
}

// checkVariables checks a list of names and values; what says which in errors.
func checkVariables(what string, list []*pb.EnvVar) error {
	if len(list) > MaxEnv {
		return invalid("the job has %d %ss, at most %d are allowed", len(list), what, MaxEnv)
	}
	size := 0
	seen := make(map[string]bool, len(list))
	for _, e := range list {
		switch {
		case !envName.MatchString(e.GetName()):
			return invalid("%s %s: a name is 1 to 128 letters, digits and '_', and begins with no digit", what, quote(e.GetName()))
		case seen[e.Name]:
			return invalid("%s %s is set twice", what, e.Name)
		case strings.ContainsRune(e.Value, 0):
			return invalid("the value of %s %s contains a zero byte", what, e.Name)
		}
		seen[e.Name] = true
		size += len(e.Name) + len(e.Value) + 2
	}
	if size > MaxEnvBytes {
		return invalid("the job's %ss are %d bytes, at most %d are allowed", what, size, MaxEnvBytes)
	}
	return nil
}

func checkDir(dir string) error {
	switch {
	case dir == "":
		return nil
	case len(dir) > MaxDir:
		return invalid("the working directory's name is %d bytes, at most %d are allowed", len(dir), MaxDir)
	case leaves(dir):
		return invalid("working directory %s: give it relative to the checkout, without '..'", quote(dir))
	}
	return nil
}

// leaves says whether a path may lead out of the directory that it begins in.
func leaves(name string) bool {
	return path.IsAbs(name) || strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..")
}

// checkOBuilder leaves the language to clients and workers, who know it.
func checkOBuilder(o *pb.ObuilderJob) error {
	return checkText("OBuilder spec", o.GetSpec())
}

func checkText(what, text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return invalid("the job's %s is empty", what)
	case strings.ContainsRune(text, 0):
		return invalid("the job's %s contains a zero byte", what)
	}
	return nil
}

func checkSandbox(b *pb.SandboxJob) error {
	if err := checkReference("base image", b.GetImage()); err != nil {
		return err
	}
	switch n := b.GetNetwork(); n {
	case "", noNetwork, hostNetwork:
	default:
		return invalid("network %s is unknown: use %s or %s", quote(n), noNetwork, hostNetwork)
	}
	if n := b.GetCpuMillis(); n != 0 && (n < MinCPUMillis || n > MaxCPUMillis) {
		return invalid("the job asks for %d thousandths of a processor, want %d to %d", n, MinCPUMillis, MaxCPUMillis)
	}
	if n := b.GetMemoryBytes(); n != 0 && (n < MinMemory || n > MaxMemory) {
		return invalid("the job asks for %d bytes of memory, want %d to %d", n, MinMemory, int64(MaxMemory))
	}
	return checkCommand(b.GetCommand())
}

// reference is what the name of an image may be made of. Registries say the rest.
var reference = regexp.MustCompile(`^[A-Za-z0-9\[][A-Za-z0-9._:/@\[\]-]*$`)

func checkReference(what, name string) error {
	switch {
	case name == "":
		return invalid("the job names no %s", what)
	case len(name) > MaxReference:
		return invalid("the name of the %s is %d bytes, at most %d are allowed", what, len(name), MaxReference)
	case !reference.MatchString(name):
		return invalid("%s %s: want a reference, such as registry.example.org/name:tag", what, quote(name))
	}
	return nil
}

var platform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)

func checkDocker(d *pb.DockerJob, hasGit bool) error {
	if err := checkDockerfile(d, hasGit); err != nil {
		return err
	}
	if err := checkVariables("build argument", d.BuildArgs); err != nil {
		return err
	}
	switch t, p := d.Target, d.Platform; {
	case t != "" && !reference.MatchString(t) || len(t) > MaxReference:
		return invalid("target %s: want the name of a stage of the Dockerfile", quote(t))
	case p != "" && (!platform.MatchString(p) || len(p) > maxPlatform):
		return invalid("platform %s: want OS/ARCH, such as linux/arm64", quote(p))
	case len(d.CacheFrom) > MaxCaches:
		return invalid("the job names %d caches to import, at most %d are allowed", len(d.CacheFrom), MaxCaches)
	}
	return checkDockerReferences(d)
}

func checkDockerfile(d *pb.DockerJob, hasGit bool) error {
	switch f := d.Dockerfile.(type) {
	case *pb.DockerJob_Contents:
		return checkText("Dockerfile", f.Contents)
	case *pb.DockerJob_Path:
		switch {
		case f.Path == "" || len(f.Path) > MaxDir || leaves(f.Path):
			return invalid("Dockerfile %s: give its path relative to the checkout, without '..', at most %d bytes", quote(f.Path), MaxDir)
		case !hasGit:
			return invalid("Dockerfile %s is a file of the checkout, and the job has no repository: name one, or send the Dockerfile itself", quote(f.Path))
		}
		return nil
	}
	return invalid("the job has no Dockerfile: send one, or name a file of the repository")
}

func checkDockerReferences(d *pb.DockerJob) error {
	for _, to := range []struct{ what, name string }{{"image to push", d.Push}, {"cache to export", d.CacheTo}} {
		switch {
		case to.name == "":
			continue
		case strings.Contains(to.name, "@"):
			return invalid("%s %s: name a tag, not a digest: only the build tells the digest", to.what, quote(to.name))
		}
		if err := checkReference(to.what, to.name); err != nil {
			return err
		}
	}
	for _, name := range d.CacheFrom {
		if err := checkReference("cache to import", name); err != nil {
			return err
		}
	}
	return nil
}

// checkSealed checks what can be seen of sealed secrets from outside.
func checkSealed(s *pb.JobSpec) error {
	sealed := s.Sealed
	switch {
	case sealed == nil:
		return nil
	case len(sealed.Box) == 0 || len(sealed.Box) > seal.MaxBox:
		return invalid("the job's sealed secrets are %d bytes, want 1 to %d", len(sealed.Box), seal.MaxBox)
	case len(sealed.Ids) == 0 || len(sealed.Ids) > seal.MaxSecrets:
		return invalid("the job has %d sealed secrets, want 1 to %d", len(sealed.Ids), seal.MaxSecrets)
	case !slices.IsSorted(sealed.Ids) || len(slices.Compact(slices.Clone(sealed.Ids))) < len(sealed.Ids):
		return invalid("the ids of the job's sealed secrets are not sorted, or one is there twice")
	}
	if err := seal.CheckKeyID(sealed.Key); err != nil {
		return invalid("the job's sealed secrets: %v", err)
	}
	for _, id := range sealed.Ids {
		if err := seal.CheckID(id); err != nil {
			return invalid("%v", err)
		}
	}
	return nil
}

func checkCustom(c *pb.CustomJob) error {
	if err := fsm.ValidateName("kind of job", c.GetKind()); err != nil {
		return invalid("%v", err)
	}
	return nil
}
