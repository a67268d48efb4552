package obuilder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/weirbuild/weir/workerd/obuilder/inroot"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// copyInput is what the result of a copy is known by.
type copyInput struct {
	Base, Dest string
	User       spec.User
	Items      []item
}

func (b *build) copy(ctx context.Context, c *scene, op spec.Copy) error {
	dir, done, err := b.source(c, op)
	if err != nil {
		return err
	}
	defer done()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the source of a copy: %w", err)
	}
	defer root.Close()
	input := copyInput{Base: c.base, Dest: join(c.workdir, op.Dest), User: c.user}
	for _, src := range op.Sources {
		it, err := scan(root, src, op.Exclude)
		if err != nil {
			return err
		}
		input.Items = append(input.Items, it)
	}
	return b.ensure(ctx, c, step{id: identify("copy", input), base: c.base, lent: true, make: func(ctx context.Context, dir string, _ io.Writer) (Image, error) {
		return Image{}, copyInto(ctx, dir, root, input)
	}})
}

// source is the directory that a copy copies from.
func (b *build) source(c *scene, op spec.Copy) (dir string, done func(), err error) {
	if op.From == "" {
		if b.Context == "" {
			return "", nil, Failed("there is no context to copy from: give the build a directory or a repository")
		}
		return b.Context, func() {}, nil
	}
	v, err := b.store.Open(c.builds[op.From])
	if err != nil {
		return "", nil, fmt.Errorf("open the result of build %q: %w", op.From, err)
	}
	return v.Dir(), func() { _ = v.Close() }, nil // a view has nothing to lose
}

func copyInto(ctx context.Context, dir string, source *os.Root, input copyInput) error {
	to, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	c := &copier{ctx: ctx, from: source, to: to, user: input.User}
	parent := input.Dest
	if !strings.HasSuffix(parent, "/") {
		parent = path.Dir(parent)
	}
	if err := to.MkdirAll(parent, c.attributes(0o755)); err != nil {
		return c.explain(parent, err)
	}
	for _, it := range input.Items {
		dest := input.Dest
		if strings.HasSuffix(dest, "/") {
			dest = path.Join(dest, it.Name)
		}
		if err := c.item(it, dest); err != nil {
			return c.explain(dest, err)
		}
	}
	return nil
}

// copier copies items into a tree, owned by a user.
type copier struct {
	ctx  context.Context
	from *os.Root
	to   *inroot.Root
	user spec.User
}

func (c *copier) attributes(mode os.FileMode) inroot.Attributes {
	return inroot.Attributes{Mode: mode, UID: int(c.user.UID), GID: int(c.user.GID)}
}

// explain tells a destination that is in the way from a disk that is full.
func (c *copier) explain(dest string, err error) error {
	for _, theirs := range []error{inroot.ErrDirectory, inroot.ErrNoDirectory, syscall.ENOTDIR, syscall.ELOOP} {
		if errors.Is(err, theirs) {
			return Failed("copy to %s: %s: to copy into a directory end the destination with /", dest, err)
		}
	}
	return fmt.Errorf("copy to %s: %w", dest, err)
}

func (c *copier) item(it item, dest string) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	info, err := c.from.Lstat(it.Path)
	if err != nil {
		return err
	}
	a := c.attributes(0o644)
	a.ModTime = info.ModTime()
	switch it.Kind {
	case "link":
		return c.to.Symlink(dest, it.Target, a)
	case "file":
		if it.Exec {
			a.Mode = 0o755
		}
		return c.file(it, dest, a)
	}
	a.Mode = 0o755
	return c.dir(it, dest, a)
}

func (c *copier) file(it item, dest string, a inroot.Attributes) error {
	f, err := c.from.Open(it.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.to.File(dest, f, a)
}

func (c *copier) dir(it item, dest string, a inroot.Attributes) error {
	if !c.to.IsDir(dest) {
		if err := c.to.Directory(dest, a); err != nil {
			return err
		}
	}
	for _, entry := range it.Entries {
		if err := c.item(entry, path.Join(dest, entry.Name)); err != nil {
			return err
		}
	}
	if path.Clean(dest) == "/" {
		return nil // the root stays the image's
	}
	return c.to.Adorn(dest, a)
}
