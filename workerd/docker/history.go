package docker

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirbuild/weir/workerd/supervise"
)

// history finds the records that buildkitd keeps of this worker's builds, to remove
// them: what a step prints is in them, a secret too, which only the worker's own log
// masks. A record is known by an option that means nothing to a build.
type history struct {
	*BuildKit
	worker string // the beginning of the marks of this worker's builds
}

// markOption is that option. It is no part of what a step's result is known by.
const markOption = "weir-build"

// historyPatience is how long buildkitd may take to tell or forget what it keeps.
const historyPatience = 30 * time.Second

func openHistory(b *BuildKit, dir string) (*history, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("name this worker to BuildKit: %w", err)
	}
	return &history{b, digestOf(dir)[:16] + "-"}, nil
}

// mark is a new build's.
func (h *history) mark() string { return h.worker + strings.ToLower(rand.Text()) }

// forget removes the records of builds whose marks begin so.
func (h *history) forget(ctx context.Context, mark string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyPatience)
	defer cancel()
	records, err := h.ask(ctx, "histories", "--format", `{{with .Record}}{{.Ref}} {{index .FrontendAttrs "`+markOption+`"}}{{end}}`)
	if err != nil {
		return fmt.Errorf("list what BuildKit keeps of builds: %w", err)
	}
	for line := range strings.Lines(records) {
		ref, of, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(of, mark) {
			continue
		}
		if _, err := h.ask(ctx, "ctl", "--delete", ref); err != nil {
			return fmt.Errorf("remove what BuildKit keeps of a build: %w", err)
		}
	}
	return nil
}

// ask runs one of buildctl's debug commands, and gives what it prints.
func (h *history) ask(ctx context.Context, args ...string) (string, error) {
	var said strings.Builder
	exit, err := h.runner.Run(ctx, supervise.Command{Argv: append([]string{h.program, "--addr", h.addr, "debug"}, args...), Env: basicEnv(), Dir: "/"}, &said)
	switch {
	case err != nil:
		return "", err
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case !exit.Ok():
		return "", fmt.Errorf("buildctl debug %s: %s", args[0], oneLine(said.String()))
	}
	return said.String(), nil
}
