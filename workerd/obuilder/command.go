package obuilder

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"

	"github.com/weirbuild/weir/workerd/logins"
)

// CommandRequest is one command on a base image, of which nothing is kept.
type CommandRequest struct {
	Image   string
	Logins  *logins.Set // for the image, beside the machine's own
	Command Command     // its Env is added to the image's
	Passed  []string    // variables that are set where neither the image nor the command sets them
}

// Run runs a command in a private copy of a base image and throws the copy away.
// The image is kept like that of a spec. The log goes to out. A *Failure is the
// job's own: an image that is not there, a program that cannot be started.
func (e *Engine) Run(ctx context.Context, r CommandRequest, out io.Writer) (exit Exit, err error) {
	b := &build{Engine: e, Request: Request{Logins: r.Logins, Passed: r.Passed}, out: &lines{to: out, atStart: true}}
	defer b.unpin()
	c := &scene{}
	if err := b.from(ctx, c, r.Image); err != nil {
		return Exit{}, err
	}
	for _, v := range r.Command.Env {
		c.set(v)
	}
	r.Command.Env = b.withPassed(c.env)
	if err := e.enter(); err != nil {
		return Exit{}, err
	}
	defer e.running.Done()
	draft, err := e.store.Create("command-"+strings.ToLower(rand.Text()), c.base)
	if err != nil {
		return Exit{}, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	return e.sandbox.Run(ctx, draft.Dir(), r.Command, b.out)
}

// enter begins something that Close waits for.
func (e *Engine) enter() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	e.running.Add(1)
	return nil
}

var errClosed = errors.New("the build engine was closed")
