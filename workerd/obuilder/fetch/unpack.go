package fetch

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/weirbuild/weir/workerd/obuilder/inroot"
)

// What an image's layers say about entries of the layers below.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// unpack applies an image's layers, the lowest first.
func unpack(ctx context.Context, img v1.Image, dir string) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for i, layer := range layers {
		if err := unpackLayer(ctx, layer, root); err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return nil
}

func unpackLayer(ctx context.Context, layer v1.Layer, root *inroot.Root) (err error) {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	// Closing checks the digest, which only a whole layer has.
	defer func() { err = errors.Join(err, content.Close()) }()
	u := &unpacker{root: root, made: map[string]bool{}, dirs: map[string]inroot.Attributes{}}
	archive := tar.NewReader(&interruptible{ctx, content})
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, archive); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	return u.finish()
}

// interruptible ends a long layer with its context.
type interruptible struct {
	ctx  context.Context
	from io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}

// unpacker applies one layer.
type unpacker struct {
	root *inroot.Root
	made map[string]bool              // by this layer: an opaque mark spares it
	dirs map[string]inroot.Attributes // get their times at the end
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name := path.Clean("/" + h.Name)
	dir, base := path.Split(name)
	if name == "/" {
		if h.Typeflag == tar.TypeDir {
			u.dirs[name] = attributes(h)
		}
		return nil
	}
	if err := u.root.MkdirAll(dir, inroot.Attributes{Mode: 0o755}); err != nil {
		return err
	}
	if base == opaque {
		return u.clear(dir)
	}
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		return u.root.RemoveAll(path.Join(dir, hidden))
	}
	u.made[name] = true
	return u.create(name, h, content)
}

func (u *unpacker) create(name string, h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeDir {
		delete(u.dirs, name)
		if err := u.root.RemoveAll(name); err != nil { // it may be a directory of a lower layer
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		u.dirs[name] = attributes(h)
		return u.root.Directory(name, attributes(h))
	case tar.TypeReg:
		return u.root.File(name, content, attributes(h))
	case tar.TypeSymlink:
		return u.root.Symlink(name, h.Linkname, attributes(h))
	case tar.TypeLink:
		return u.root.Link(name, h.Linkname)
	case tar.TypeBlock, tar.TypeChar, tar.TypeFifo:
		return u.root.Node(name, h.Typeflag, h.Devmajor, h.Devminor, attributes(h))
	case tar.TypeXGlobalHeader:
		return nil
	}
	return fmt.Errorf("unknown kind %q of entry", h.Typeflag)
}

// clear removes what lower layers have in a directory.
func (u *unpacker) clear(dir string) error {
	names, err := u.root.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if full := path.Join(dir, name); !u.made[full] {
			if err := u.root.RemoveAll(full); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish gives directories the times that their entries have changed since.
func (u *unpacker) finish() error {
	for name, a := range u.dirs {
		if u.root.IsDir(name) {
			if err := u.root.Adorn(name, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// attributes are those that a header names.
func attributes(h *tar.Header) inroot.Attributes {
	const modes = os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky
	a := inroot.Attributes{Mode: h.FileInfo().Mode() & modes, UID: h.Uid, GID: h.Gid, ModTime: h.ModTime}
	for key, value := range h.PAXRecords {
		attr, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if ok && (attr == "security.capability" || strings.HasPrefix(attr, "user.")) { // overlayfs acts on some of the others
			if a.Xattrs == nil {
				a.Xattrs = map[string]string{}
			}
			a.Xattrs[attr] = value
		}
	}
	return a
}
