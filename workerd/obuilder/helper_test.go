package obuilder_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/copystore"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/overlay"
	"github.com/weirbuild/weir/workerd/obuilder/runc"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// bench is an engine of real parts: a store, runc, and a registry with busybox.
type bench struct {
	*testing.T
	*obuilder.Engine
	root    string
	store   obuilder.Store
	sandbox *runc.Sandbox
	mirror  fetch.Mirror
	metrics *prometheus.Registry
}

var stores = map[string]func(root string) (obuilder.Store, error){
	"overlay": func(root string) (obuilder.Store, error) { return overlay.Open(root) },
	"copy":    func(root string) (obuilder.Store, error) { return copystore.Open(root) },
}

// onEach runs a test on an engine with each store.
func onEach(t *testing.T, test func(*bench)) {
	for kind := range stores {
		t.Run(kind, func(t *testing.T) { test(newBench(t, kind)) })
	}
}

func newBench(t *testing.T, kind string) *bench {
	t.Helper()
	return newBenchIn(t, kind, t.TempDir())
}

func newBenchIn(t *testing.T, kind, root string) *bench {
	t.Helper()
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	b := &bench{T: t, root: root, mirror: fetch.Mirror{Registry: "docker.io", Host: enginetest.ServeBusybox(t), Plain: true}}
	b.open(kind)
	t.Cleanup(b.close)
	return b
}

func (b *bench) open(kind string) {
	b.Helper()
	var err error
	if b.store, err = stores[kind](filepath.Join(b.root, "store")); err != nil {
		b.Fatal(err)
	}
	if b.sandbox, err = runc.Open(b.Context(), runc.Config{Dir: filepath.Join(b.root, "sandbox")}); err != nil {
		b.Fatal(err)
	}
	b.metrics = prometheus.NewRegistry()
	b.Engine, err = obuilder.Open(obuilder.Config{Dir: b.root, Store: b.store, Sandbox: b.sandbox,
		Fetcher: fetch.New(fetch.Config{Mirrors: []fetch.Mirror{b.mirror}}), Metrics: b.metrics})
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) close() {
	b.Helper()
	if err := errors.Join(b.Close(), b.sandbox.Close(), b.store.Close()); err != nil {
		b.Error(err)
	}
	b.nothingLeft()
}

// nothingLeft checks that no draft, mount or container is left.
func (b *bench) nothingLeft() {
	b.Helper()
	for _, dir := range []string{"store/work", "sandbox/state", "sandbox/bundles"} {
		left, err := os.ReadDir(filepath.Join(b.root, dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) || len(left) != 0 {
			b.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), b.root+"/store") {
		b.Errorf("mounts are left: %v", err)
	}
}

// count reads a metric.
func (b *bench) count(name string) int {
	b.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weir_worker_obuilder_"+name {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	b.Fatalf("no metric %s", name)
	return 0
}

func (b *bench) parse(text string) *spec.Spec {
	b.Helper()
	s, err := spec.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// busybox is a spec of steps on busybox.
func busybox(steps string) string { return "((from busybox) (shell /bin/sh -c) " + steps + ")" }

// request is a build of steps on busybox.
func (b *bench) request(steps string) obuilder.Request {
	b.Helper()
	return obuilder.Request{Spec: b.parse(busybox(steps))}
}

// output is what may be read while it is written.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output has a text.
func (o *output) await(ctx context.Context, text string) error {
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// build builds what must succeed.
func (b *bench) build(r obuilder.Request) (id, log string) {
	b.Helper()
	out := newOutput()
	id, err := b.Build(b.Context(), r, out)
	if err != nil {
		b.Fatalf("%v; log:\n%s", err, out)
	}
	return id, out.String()
}

// fails builds what must fail for a reason of its own.
func (b *bench) fails(r obuilder.Request, says string) *obuilder.Failure {
	b.Helper()
	out := newOutput()
	_, err := b.Build(b.Context(), r, out)
	var f *obuilder.Failure
	if !errors.As(err, &f) {
		b.Fatalf("%v; log:\n%s", err, out)
	}
	if !strings.Contains(f.Text, says) {
		b.Errorf("it failed with %q, want %q", f.Text, says)
	}
	return f
}

// writeFiles makes a directory with files; a name that ends with / is a directory,
// a content that begins with -> is a link.
func (b *bench) writeFiles(files map[string]string) string {
	b.Helper()
	dir := b.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "->"); ok && err == nil {
			err = os.Symlink(target, path)
		} else if err == nil && strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o640)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return dir
}
