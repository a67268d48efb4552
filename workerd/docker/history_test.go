package docker_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/docker/dockertest"
	"github.com/weirbuild/weir/workerd/executor"
)

// noHistory: what a step prints is on no disk of the engine's once the build is over,
// however it ended. Builds of others keep their records.
func noHistory(b *bench, daemon *dockertest.BuildKit) {
	const token = "hunter2-in-history"
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM busybox\nRUN echo another\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	buildctl := func(args ...string) string {
		b.Helper()
		out, err := exec.Command(filepath.Join(daemon.Bin, "buildctl"), append([]string{"--addr", daemon.Addr}, args...)...).CombinedOutput()
		if err != nil {
			b.Fatalf("buildctl %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	buildctl("build", "--frontend", "dockerfile.v0", "--local", "context="+dir, "--local", "dockerfile="+dir)
	run := func(script, want string) {
		b.Helper()
		ctx, cancel := context.WithCancelCause(b.Context())
		defer cancel(nil)
		task := b.task(nil, contents("FROM busybox\nRUN --mount=type=secret,id=token cat /run/secrets/token; "+script+"\n"))
		task.Secrets = map[string][]byte{"token": []byte(token)}
		out := &watched{want: "\nhanging\n", then: func() { cancel(executor.ErrCancelled) }}
		o, err := executor.Standard(b.executor, "w").Run(ctx, task, out)
		if err != nil || !strings.HasSuffix(o.Kind.String(), want) || !strings.Contains(out.text.String(), "***") {
			b.Errorf("%v, %v\n%s", o, err, out.text.String())
		}
		if left := strings.Count(buildctl("debug", "histories", "--format", "{{.Record.Ref}}"), "\n"); left != 1 {
			b.Errorf("%s: %d records are left, want that of another's build", script, left)
		}
	}
	run("echo done", "SUCCEEDED")
	run("exit 3", "FAILED")
	run("echo; echo hanging; sleep 1000", "CANCELLED")
	if found := filesWith(b, daemon.Root(), token); len(found) > 0 {
		b.Errorf("a secret that a step has printed is in %q", found)
	}

	// What a worker that was killed has left is removed by the next one.
	mark := docker.MarkOf(filepath.Join(b.dir, "steps"))
	buildctl("build", "--frontend", "dockerfile.v0", "--local", "context="+dir, "--local", "dockerfile="+dir, "--opt", "weir-build="+mark+"left")
	if _, err := docker.OpenBuildKit(b.Context(), daemon.Addr, filepath.Join(b.dir, "steps"), b.runner); err != nil {
		b.Fatal(err)
	}
	if left := strings.Count(buildctl("debug", "histories", "--format", "{{.Record.Ref}}"), "\n"); left != 1 {
		b.Errorf("after a crash: %d records are left", left)
	}
}

// filesWith are the files below a directory that have a text in them.
func filesWith(b *bench, dir, text string) (found []string) {
	b.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it is gone, or no file
		}
		content, err := os.ReadFile(path)
		if err == nil {
			seen++
		}
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil || seen == 0 {
		b.Fatalf("looked into %d files of %s: %v", seen, dir, err)
	}
	return found
}
