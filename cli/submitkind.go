package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd"
)

// kindOptions say what a job does: a command, a command on an image, an OBuilder
// spec, a Dockerfile, or what a worker's operator has a program for.
type kindOptions struct {
	env []string
	dir string

	image   string
	network string
	cpus    float64
	memory  int64

	obuilder string
	needs    []string // secrets of the spec

	dockerfile string
	fromFile   string
	docker     *pb.DockerJob
	buildArgs  []string

	kind    string
	payload string

	set func(flag string) bool // whether the user gave it
}

func (o *kindOptions) addFlags(f *pflag.FlagSet) {
	o.docker = &pb.DockerJob{}
	f.StringArrayVar(&o.env, "env", nil, "NAME=VALUE for the command; not for secrets")
	f.StringVar(&o.dir, "dir", "", "directory of the checkout to run in")

	f.StringVar(&o.image, "image", "", "base image to run the command on, in a container that has the checkout mounted")
	f.StringVar(&o.network, "network", "none", "with --image, the command's network: none or host")
	f.Float64Var(&o.cpus, "cpu", 0, "with --image, processors that the command may use (the worker's limit when not given)")
	f.Var((*bytesize.Size)(&o.memory), "memory", "with --image, memory that the command may use, such as 2GiB (the worker's limit when not given)")

	f.StringVar(&o.obuilder, "obuilder", "", "OBuilder spec to build instead of a command; it copies from the checkout of --repo")

	f.StringVar(&o.dockerfile, "dockerfile", "", "Dockerfile to build instead of a command: its path in the checkout of --repo, which is the context")
	f.StringVar(&o.fromFile, "dockerfile-from", "", "file with the Dockerfile to build (-: standard input), in place of one in the checkout")
	f.StringArrayVar(&o.buildArgs, "build-arg", nil, "NAME=VALUE for the Dockerfile; not for secrets")
	f.StringVar(&o.docker.Target, "target", "", "stage of the Dockerfile to build (the last one when not given)")
	f.StringVar(&o.docker.Platform, "platform", "", "platform to build for, such as linux/arm64 (the worker's own when not given)")
	f.BoolVar(&o.docker.Squash, "squash", false, "make the image one layer, where the worker's engine can")
	f.BoolVar(&o.docker.IncludeGit, "include-git", false, "make .git part of the Dockerfile's context")
	f.StringVar(&o.docker.Push, "push", "", "REPOSITORY:TAG to push the image to; the worker must allow it")
	f.StringArrayVar(&o.docker.CacheFrom, "cache-from", nil, "reference in a registry to import the Dockerfile's build cache from; may be repeated")
	f.StringVar(&o.docker.CacheTo, "cache-to", "", "reference in a registry to export the Dockerfile's build cache to; the worker must allow it")

	f.StringVar(&o.kind, "kind", "", "kind of job to run instead of a command, for which workers have a program of their own")
	f.StringVar(&o.payload, "payload", "", "with --kind, file that the worker's program reads (-: standard input)")
}

// kindFlags are the flags that only some kinds of job know, by what chooses these.
var kindFlags = map[string][]string{
	"a command":         {"env", "dir"},
	"--image":           {"env", "dir", "image", "network", "cpu", "memory"},
	"--obuilder":        {"obuilder"},
	"--dockerfile":      {"dockerfile", "build-arg", "target", "platform", "squash", "include-git", "push", "cache-from", "cache-to"},
	"--dockerfile-from": {"dockerfile-from", "build-arg", "target", "platform", "squash", "include-git", "push", "cache-from", "cache-to"},
	"--kind":            {"kind", "payload"},
}

// choices are the flags that choose a kind of job.
var choices = []string{"image", "obuilder", "dockerfile", "dockerfile-from", "kind"}

// choose says what chooses the kind of job, and refuses flags of other kinds.
func (o *kindOptions) choose(argv []string) (string, error) {
	choice := ""
	for _, flag := range choices {
		switch {
		case !o.set(flag):
		case choice != "":
			return "", usageError("%s and --%s are two kinds of job: give one", choice, flag)
		default:
			choice = "--" + flag
		}
	}
	takesCommand := choice == "" || choice == "--image"
	switch {
	case choice == "" && len(argv) == 0:
		return "", usageError("nothing to build: give a command after --, or one of --obuilder, --dockerfile, --dockerfile-from and --kind")
	case takesCommand && len(argv) == 0:
		return "", usageError("--image needs a command to run on it: give one after --")
	case choice == "--obuilder" && (len(argv) > 0 || o.set("env") || o.set("dir")):
		return "", usageError("--obuilder: a spec says itself what to run, with which environment and where: leave out the command, --env and --dir")
	case !takesCommand && len(argv) > 0:
		return "", usageError("%s: such a job runs no command: leave out %q", choice, argv[0])
	case choice == "":
		choice = "a command"
	}
	return choice, o.refuseOthers(choice)
}

func (o *kindOptions) refuseOthers(choice string) error {
	own := map[string]bool{}
	for _, flag := range kindFlags[choice] {
		own[flag] = true
	}
	for _, of := range []string{"a command", "--image", "--dockerfile", "--kind"} {
		for _, flag := range kindFlags[of] {
			if o.set(flag) && !own[flag] {
				return usageError("--%s has no effect with %s: it is for %s", flag, choice, of)
			}
		}
	}
	return nil
}

// apply makes the spec a job of the chosen kind.
func (o *kindOptions) apply(e *env, spec *pb.JobSpec, argv []string) error {
	choice, err := o.choose(argv)
	if err != nil {
		return err
	}
	switch choice {
	case "--obuilder":
		return o.setOBuilder(e, spec)
	case "--dockerfile", "--dockerfile-from":
		return o.setDocker(e, spec)
	case "--kind":
		payload, err := e.readInput("--payload", o.payload)
		spec.Kind = &pb.JobSpec_Custom{Custom: &pb.CustomJob{Kind: o.kind, Payload: payload}}
		return err
	}
	command, err := o.command(argv)
	if err != nil {
		return err
	}
	if choice == "a command" {
		spec.Kind = &pb.JobSpec_Command{Command: command}
		return nil
	}
	spec.Kind = &pb.JobSpec_Sandbox{Sandbox: &pb.SandboxJob{Command: command, Image: o.image, Network: o.network,
		CpuMillis: int64(o.cpus * 1000), MemoryBytes: o.memory}}
	return nil
}

func (o *kindOptions) command(argv []string) (*pb.CommandJob, error) {
	env, err := variables("--env", o.env)
	return &pb.CommandJob{Argv: argv, Dir: o.dir, Env: env}, err
}

// variables reads NAME=VALUE pairs, and repeats no value in an error.
func variables(flag string, pairs []string) (list []*pb.EnvVar, err error) {
	for _, text := range pairs {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usageError("%s %q: want NAME=VALUE", flag, name)
		}
		list = append(list, &pb.EnvVar{Name: name, Value: value})
	}
	return list, nil
}

// setOBuilder sends a spec that is right, to workers that know the language.
func (o *kindOptions) setOBuilder(e *env, spec *pb.JobSpec) error {
	text, s, err := e.readSpec(o.obuilder)
	if err != nil {
		return err
	}
	o.needs = s.Secrets()
	spec.Kind = &pb.JobSpec_Obuilder{Obuilder: &pb.ObuilderJob{Spec: text}}
	spec.Labels = append(spec.Labels, &pb.Label{Name: workerd.OBuilderLabel, Value: "yes"})
	return nil
}

func (o *kindOptions) setDocker(e *env, spec *pb.JobSpec) error {
	job := o.docker
	if o.set("dockerfile") {
		job.Dockerfile = &pb.DockerJob_Path{Path: o.dockerfile}
	} else {
		text, err := e.readInput("--dockerfile-from", o.fromFile)
		if err != nil {
			return err
		}
		job.Dockerfile = &pb.DockerJob_Contents{Contents: string(text)}
	}
	args, err := variables("--build-arg", o.buildArgs)
	job.BuildArgs = args
	spec.Kind = &pb.JobSpec_Docker{Docker: job}
	return err
}

// maxInput is more than a job's description may hold.
const maxInput = 1 << 20

// readInput reads a file, or standard input for "-". Empty: nothing.
func (e *env) readInput(flag, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	from := e.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usageError("%s: %w", flag, err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: read %s: %w", flag, file, err)
	}
	if len(text) > maxInput {
		return nil, usageError("%s: %s is over %v, more than a job can carry: put it in the repository", flag, file, bytesize.Size(maxInput))
	}
	return text, nil
}
