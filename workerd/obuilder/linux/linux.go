// Package linux puts a build engine together from its parts for Linux: overlayfs
// or copies, runc, and go-containerregistry, all in one directory.
package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/copystore"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/overlay"
	"github.com/weirbuild/weir/workerd/obuilder/runc"
)

// The kinds of store.
const (
	Auto    = "auto" // overlayfs where it can be used, else copies
	Overlay = "overlay"
	Copy    = "copy"
)

// Config says what an engine is made of.
type Config struct {
	Dir      string // for everything: results, trees, caches, containers
	Store    string // a kind of store; "": Auto
	Mirrors  []fetch.Mirror
	Local    bool // images may be files of this machine
	FastSync bool // builds' calls that sync files do nothing
	Limits   obuilder.Limits
	Metrics  prometheus.Registerer
}

// Engine is an engine with its parts.
type Engine struct {
	*obuilder.Engine
	// Lesser is why the store is copies though nobody asked for them; else nil.
	Lesser error

	store   obuilder.Store
	sandbox obuilder.Sandbox
}

// Open opens the engine in a directory, and removes what a crash has left there.
// Registries get the credentials of Docker's configuration, where there is one.
func Open(ctx context.Context, c Config) (e *Engine, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("OBuilder specs are built as root: mounts, containers and owners of files need it")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open build engine: %w", err)
	}
	e = &Engine{}
	if e.store, e.Lesser, err = openStore(c.Store, filepath.Join(c.Dir, "store")); err != nil {
		return nil, err
	}
	if e.sandbox, err = runc.Open(ctx, runc.Config{Dir: filepath.Join(c.Dir, "sandbox"), FastSync: c.FastSync, Limits: c.Limits}); err != nil {
		return nil, errors.Join(err, e.store.Close())
	}
	e.Engine, err = obuilder.Open(obuilder.Config{
		Dir: c.Dir, Store: e.store, Sandbox: e.sandbox, Metrics: c.Metrics,
		Fetcher: fetch.New(fetch.Config{Mirrors: c.Mirrors, Keychain: authn.DefaultKeychain, Local: c.Local}),
	})
	if err != nil {
		return nil, errors.Join(err, e.sandbox.Close(), e.store.Close())
	}
	return e, nil
}

func openStore(kind, dir string) (s obuilder.Store, lesser, err error) {
	kind, err = settledKind(kind, dir)
	if err != nil {
		return nil, nil, err
	}
	if kind != Copy {
		s, lesser = overlay.Open(dir)
		if lesser == nil {
			return s, nil, settle(dir, Overlay)
		}
		if kind == Overlay {
			return nil, nil, lesser
		}
	}
	if s, err = copystore.Open(dir); err != nil {
		return nil, nil, errors.Join(lesser, err)
	}
	return s, lesser, settle(dir, Copy)
}

// settledKind is the kind of a directory's store. It never changes: the two keep
// their trees in different ways.
func settledKind(kind, dir string) (string, error) {
	switch kind {
	case "":
		kind = Auto
	case Auto, Overlay, Copy:
	default:
		return "", fmt.Errorf("unknown kind of store %q: use %s, %s or %s", kind, Auto, Overlay, Copy)
	}
	text, err := os.ReadFile(filepath.Join(dir, "kind"))
	if errors.Is(err, os.ErrNotExist) {
		return kind, nil
	}
	if err != nil {
		return "", fmt.Errorf("open store: %w", err)
	}
	if kind != Auto && kind != string(text) {
		return "", fmt.Errorf("the store in %s is of the kind %s: ask for that, or remove the directory", dir, text)
	}
	return string(text), nil
}

func settle(dir, kind string) error {
	return os.WriteFile(filepath.Join(dir, "kind"), []byte(kind), 0o600)
}

// Close ends the engine, then its parts.
func (e *Engine) Close() error {
	return errors.Join(e.Engine.Close(), e.sandbox.Close(), e.store.Close())
}
