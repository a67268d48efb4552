package obuilder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// Config is what an engine is made of.
type Config struct {
	Dir     string // for results and their logs; this engine's alone
	Store   Store
	Sandbox Sandbox
	Fetcher Fetcher
	Metrics prometheus.Registerer // nil: none
}

// Engine builds specs. One engine serves many builds at the same time.
type Engine struct {
	dir     string
	store   Store
	sandbox Sandbox
	fetcher Fetcher
	key     []byte // secrets enter ids through it
	metrics *metrics
	running sync.WaitGroup

	checking sync.Mutex // held by the health check that runs

	mu      sync.Mutex
	index   *index
	flights map[string]*flight
	closed  bool
}

// Request is a build.
type Request struct {
	Spec    *spec.Spec
	Context string // the directory that it copies from; "": it has none
	Secrets map[string][]byte
	Logins  *logins.Set // for base images, beside the machine's own
	// Passed are variables, NAME=VALUE, that commands see where the spec does not
	// set them. They are not part of what a result is known by.
	Passed []string
	Limits Limits
}

// Open makes an engine, and removes what a crash has left half made.
func Open(c Config) (*Engine, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open build engine: %w", err)
	}
	key, err := readKey(filepath.Join(c.Dir, "key"))
	if err != nil {
		return nil, fmt.Errorf("open build engine: %w", err)
	}
	x, err := openIndex(filepath.Join(c.Dir, "results"), c.Store)
	if err != nil {
		return nil, fmt.Errorf("open build engine: %w", err)
	}
	return &Engine{dir: c.Dir, store: c.Store, sandbox: c.Sandbox, fetcher: c.Fetcher, key: key,
		metrics: newMetrics(c.Metrics), index: x, flights: map[string]*flight{}}, nil
}

// readKey reads the key that stays with a store, and makes it once.
func readKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) == 32 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file+".new", key, 0o600); err != nil {
		return nil, err
	}
	return key, os.Rename(file+".new", file)
}

// Build builds a spec and returns its result's id. The log goes to out. A
// *Failure is the build's own; the cause of ctx comes back when ctx is done.
func (e *Engine) Build(ctx context.Context, r Request, out io.Writer) (string, error) {
	b := &build{Engine: e, Request: r, out: &lines{to: out, atStart: true}}
	defer b.unpin()
	if err := b.checkSecrets(r.Spec); err != nil {
		return "", err
	}
	return b.spec(ctx, r.Spec, nil)
}

// Sync makes all results outlast a crash of the machine. It may take seconds.
func (e *Engine) Sync() error { return e.store.Sync() }

// Close ends the engine: no new step begins, those that run are waited for, and
// everything is brought to the disk. Store and sandbox are not closed.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.running.Wait()
	return e.Sync()
}

// Dir is where results are kept.
func (e *Engine) Dir() string { return e.dir }

// Count is how many results are kept.
func (e *Engine) Count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.index.entries)
}

// Space is what is free on the engine's disk, in percent.
type Space struct{ Bytes, Inodes float64 }

// Free asks the disk.
func (e *Engine) Free() (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(e.dir, &s); err != nil {
		return Space{}, &fs.PathError{Op: "ask for free space", Path: e.dir, Err: err}
	}
	free := Space{Bytes: 100, Inodes: 100}
	if s.Blocks > 0 {
		free.Bytes = 100 * float64(s.Bavail) / float64(s.Blocks)
	}
	if s.Files > 0 {
		free.Inodes = 100 * float64(s.Ffree) / float64(s.Files)
	}
	return free, nil
}
