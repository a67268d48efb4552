package obuilder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weirbuild/weir/workerd/mask"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// runInput is what the result of a run is known by.
type runInput struct {
	Base, Workdir string
	User          spec.User
	Env, Shell    []string
	Command       string
	Network       string
	Secrets       []sealedSecret
}

type sealedSecret struct{ Target, Value string }

func (b *build) run(ctx context.Context, c *scene, op spec.Run) error {
	input := runInput{Base: c.base, Workdir: c.workdir, User: c.user, Env: c.env, Shell: c.shell, Command: op.Command, Network: op.Network}
	command := Command{
		Argv: append(slices.Clone(c.shell), op.Command), Env: b.withPassed(c.env), Dir: c.workdir,
		User: c.user, Network: op.Network, Limits: b.Limits,
	}
	for _, m := range op.Secrets {
		value := b.Secrets[m.ID]
		input.Secrets = append(input.Secrets, sealedSecret{m.Target, b.seal(value)})
		command.Secrets = append(command.Secrets, Secret{m.Target, value})
	}
	return b.ensure(ctx, c, step{id: identify("run", input), base: c.base, make: func(ctx context.Context, dir string, log io.Writer) (Image, error) {
		return Image{}, b.runIn(ctx, dir, command, op.Caches, log)
	}})
}

// defaultPath is where programs are found when an image says nothing.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// withPassed adds the variables that do not count, where they are not set.
func (b *build) withPassed(env []string) []string {
	all := &scene{env: slices.Clone(env)}
	for _, v := range append([]string{defaultPath}, b.Passed...) {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(all.env, func(set string) bool { return strings.HasPrefix(set, name+"=") }) {
			all.set(v)
		}
	}
	return all.env
}

// runIn runs a command in a draft. The caches it wrote to are kept also when it
// fails.
func (b *build) runIn(ctx context.Context, dir string, c Command, caches []spec.Mount, log io.Writer) (err error) {
	for _, m := range caches {
		draft, fault := b.store.Cache(m.ID, c.User)
		if fault != nil {
			return fault
		}
		defer func() { err = errors.Join(err, draft.Commit()) }()
		c.Binds = append(c.Binds, Bind{draft.Dir(), m.Target})
	}
	masked := mask.New(log, valuesOf(c.Secrets)...)
	exit, err := b.sandbox.Run(ctx, dir, c, masked)
	if err = errors.Join(err, masked.Flush()); err != nil {
		return err
	}
	switch {
	case exit.OutOfMemory:
		limit := ""
		if c.Limits.Memory > 0 { // else it is the sandbox's own
			limit = fmt.Sprintf(" of %d bytes", c.Limits.Memory)
		}
		return &Failure{Text: "the command needed more memory than its limit" + limit + " and was killed", ExitCode: exit.Code}
	case exit.Code != 0:
		return &Failure{Text: fmt.Sprintf("the command exited with code %d", exit.Code), ExitCode: exit.Code}
	}
	return nil
}

func valuesOf(secrets []Secret) [][]byte {
	values := make([][]byte, len(secrets))
	for i, s := range secrets {
		values[i] = s.Value
	}
	return values
}
