package obuilder_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/linux"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// benchEngine is an engine as a worker has it, with busybox fetched.
func benchEngine(b *testing.B) *linux.Engine {
	b.Helper()
	enginetest.NeedRoot(b)
	enginetest.Need(b, "runc", "runc")
	e, err := linux.Open(b.Context(), linux.Config{Dir: b.TempDir(), Store: linux.Overlay, FastSync: true,
		Mirrors: []fetch.Mirror{{Registry: "docker.io", Host: enginetest.ServeBusybox(b), Plain: true}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	build(b, e, "")
	return e
}

func build(b *testing.B, e *linux.Engine, steps string) {
	b.Helper()
	s, err := spec.Parse(busybox(steps))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Build(b.Context(), obuilder.Request{Spec: s}, io.Discard); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRun measures a step beside plain runc with the same command, in turn:
// the limit is 1.5 times.
func BenchmarkRun(b *testing.B) {
	e := benchEngine(b)
	plain := newPlain(b)
	var ours, theirs time.Duration
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		build(b, e, fmt.Sprintf(`(run (shell "echo %d"))`, i))
		ours += time.Since(begun)
		begun = time.Now()
		plain.run(b, i)
		theirs += time.Since(begun)
	}
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ms/step")
	b.ReportMetric(theirs.Seconds()*1000/float64(b.N), "ms/runc")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "times-runc")
}

// plain runs commands with runc's own configuration.
type plain struct{ bundle, state string }

func newPlain(b *testing.B) *plain {
	b.Helper()
	p := &plain{bundle: b.TempDir(), state: b.TempDir()}
	if err := os.Rename(enginetest.BusyboxTree(b), filepath.Join(p.bundle, "rootfs")); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("runc", "spec", "--bundle", p.bundle).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(p.bundle, "config.json")
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"terminal": true`), []byte(`"terminal": false`), 1)
	text = bytes.Replace(text, []byte(`"sh"`), []byte(`"/bin/sh", "-c", "echo hello"`), 1)
	text = bytes.Replace(text, []byte(`"readonly": true`), []byte(`"readonly": false`), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.Fatal(err)
	}
	return p
}

func (p *plain) run(b *testing.B, i int) {
	b.Helper()
	out, err := exec.Command("runc", "--root", p.state, "run", "--bundle", p.bundle, fmt.Sprintf("weir-plain-%d", i)).CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		b.Fatalf("%v: %s", err, out)
	}
}

// BenchmarkCached measures a build of 20 steps that are all kept: the limit is
// 0.1 s.
func BenchmarkCached(b *testing.B) {
	e := benchEngine(b)
	var steps strings.Builder
	for i := range 20 {
		fmt.Fprintf(&steps, `(run (shell "echo %d"))`, i)
	}
	build(b, e, steps.String())
	for b.Loop() {
		build(b, e, steps.String())
	}
}
