package obuilder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirbuild/weir/workerd/health"
)

// The trees of a health check. No result has such an id.
const (
	checkBase = "healthcheck-base"
	checkTree = "healthcheck"
)

// Healthcheck makes a tree with one small program in it, and runs that on a copy, as
// a step of a build would. It asks no registry and leaves nothing. Only one may run at
// a time.
func (e *Engine) Healthcheck(ctx context.Context) (err error) {
	e.checking.Lock()
	defer e.checking.Unlock()
	program, ok := health.Program()
	if !ok {
		return nil // for this architecture only an image has one
	}
	if err := e.store.Delete(checkBase); err != nil { // a crash may have left it
		return fmt.Errorf("remove the tree of an earlier check: %w", err)
	}
	base, err := e.store.Create(checkBase, "")
	if err != nil {
		return fmt.Errorf("make a tree: %w", err)
	}
	if err := os.WriteFile(filepath.Join(base.Dir(), "true"), program, 0o755); err != nil {
		return errors.Join(err, base.Discard())
	}
	if err := base.Commit(); err != nil {
		return fmt.Errorf("keep a tree: %w", err)
	}
	defer func() { err = errors.Join(err, e.store.Delete(checkBase)) }()
	tree, err := e.store.Create(checkTree, checkBase)
	if err != nil {
		return fmt.Errorf("copy a tree: %w", err)
	}
	defer func() { err = errors.Join(err, tree.Discard()) }()
	var said tail
	exit, err := e.sandbox.Run(ctx, tree.Dir(), Command{Argv: []string{"/true"}, Env: []string{defaultPath}, Dir: "/"}, &said)
	if err != nil {
		return fmt.Errorf("run a program in a container: %w", err)
	}
	if exit.Code != 0 {
		return fmt.Errorf("run a program in a container: it exits with code %d, and says %q", exit.Code, said)
	}
	return nil
}

// tail keeps the end of what is written.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-1000):]
	return len(p), nil
}
