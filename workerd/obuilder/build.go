package obuilder

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"

	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// build is one request's.
type build struct {
	*Engine
	Request
	out    *lines
	pinned []string
}

// scene is what steps change and later steps see. Each spec begins with its own.
type scene struct {
	base    string // the result so far
	env     []string
	user    spec.User
	workdir string
	shell   []string
	builds  map[string]string // results of nested builds, by name
}

func (b *build) unpin() {
	for _, id := range b.pinned {
		b.Engine.unpin(id)
	}
}

// checkSecrets refuses a spec before anything runs when a secret has no value.
func (b *build) checkSecrets(s *spec.Spec) error {
	for _, nested := range s.Builds {
		if err := b.checkSecrets(nested.Spec); err != nil {
			return err
		}
	}
	for _, step := range s.Steps {
		run, ok := step.Op.(spec.Run)
		if !ok {
			continue
		}
		for _, m := range run.Secrets {
			if _, ok := b.Secrets[m.ID]; !ok {
				return at(step, Failed("the secret %q has no value: give one with --secret %s:FILE", m.ID, m.ID))
			}
		}
	}
	return nil
}

// at says where in the spec a failure is.
func at(s spec.Step, err error) error {
	var f *Failure
	if !errors.As(err, &f) {
		return err
	}
	located := *f
	located.Text = fmt.Sprintf("line %d: %s", s.Place().Line, f.Text)
	return &located
}

// spec builds a spec, its nested builds first. They may copy from builds.
func (b *build) spec(ctx context.Context, s *spec.Spec, builds map[string]string) (string, error) {
	c := &scene{workdir: "/", shell: []string{"/usr/bin/env", "bash", "-c"}, builds: maps.Clone(builds)}
	if c.builds == nil {
		c.builds = map[string]string{}
	}
	for _, nested := range s.Builds {
		if err := b.out.note("(build %q ...)", nested.Name); err != nil {
			return "", err
		}
		id, err := b.spec(ctx, nested.Spec, c.builds)
		if err != nil {
			return "", err
		}
		c.builds[nested.Name] = id
		if err := b.out.note("---> finished %q", nested.Name); err != nil {
			return "", err
		}
	}
	if err := b.from(ctx, c, s.From); err != nil {
		return "", err
	}
	for _, step := range s.Steps {
		if err := b.out.note("%s", step); err != nil {
			return "", err
		}
		if err := b.step(ctx, c, step.Op); err != nil {
			return "", at(step, err)
		}
	}
	return c.base, nil
}

// ensure makes sure of a result, and stays with it until the build's end.
func (b *build) ensure(ctx context.Context, c *scene, s step) error {
	if err := b.Engine.ensure(ctx, s, b.out); err != nil {
		return err
	}
	b.pinned = append(b.pinned, s.id)
	c.base = s.id
	return nil
}

// from begins with an image. Its environment is the first of the scene's.
func (b *build) from(ctx context.Context, c *scene, image string) error {
	if err := b.out.note("(from %s)", image); err != nil {
		return err
	}
	kind := "base"
	private, err := b.fetcher.Private(ctx, image, b.Logins)
	if err != nil {
		return err
	}
	if private { // who brings no logins for it must not find it
		kind = "private base"
	}
	err = b.ensure(ctx, c, step{id: identify(kind, image), make: func(ctx context.Context, dir string, log io.Writer) (Image, error) {
		img, err := b.fetcher.Fetch(ctx, image, b.Logins, dir, log)
		if err != nil {
			return img, err
		}
		_, err = fmt.Fprintf(log, "%s is %s\n", image, img.Digest)
		return img, err
	}})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.index.entries[c.base].Image.Env {
		c.set(v)
	}
	return nil
}

// set sets a variable, NAME=VALUE.
func (c *scene) set(variable string) {
	name, _, _ := strings.Cut(variable, "=")
	for i, v := range c.env {
		if strings.HasPrefix(v, name+"=") {
			c.env[i] = variable
			return
		}
	}
	c.env = append(c.env, variable)
}

func (b *build) step(ctx context.Context, c *scene, op spec.Op) error {
	switch op := op.(type) {
	case spec.Workdir:
		c.workdir = join(c.workdir, op.Dir)
	case spec.Shell:
		c.shell = op.Args
	case spec.Env:
		c.set(op.Name + "=" + op.Value)
	case spec.User:
		c.user = op
	case spec.Run:
		return b.run(ctx, c, op)
	case spec.Copy:
		return b.copy(ctx, c, op)
	}
	return nil
}

// join is a path seen from a directory. A final slash stays.
func join(dir, name string) string {
	joined := path.Clean(name)
	if !path.IsAbs(name) {
		joined = path.Join(dir, name)
	}
	if strings.HasSuffix(name, "/") && joined != "/" {
		joined += "/"
	}
	return joined
}

// identify makes an id of all that a result depends on.
func identify(kind string, of any) string {
	text, err := json.Marshal([]any{kind, 1, of}) // 1: the version of what is hashed
	if err != nil {
		panic(fmt.Sprintf("obuilder: hash %T: %v", of, err)) // strings and numbers only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// seal is what of a secret may enter an id. Ids are printed, and a short
// secret's plain hash could be guessed.
func (e *Engine) seal(value []byte) string {
	h := hmac.New(sha256.New, e.key)
	h.Write(value)
	return hex.EncodeToString(h.Sum(nil))
}
