package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// Runner runs commands in one mode. It keeps the supervisors of past commands
// for the next ones, because to start one costs more than most small commands.
// Close ends them.
type Runner struct {
	Mode Mode
	// Lesser is why New had to settle for Subreaper; nil where it had not.
	Lesser error

	mu     sync.Mutex
	idle   []*process
	closed bool
	live   sync.WaitGroup // supervisors
}

// The idle supervisors that a runner keeps, and for how long.
const (
	maxIdle = 16
	idleFor = 20 * time.Second
)

var errClosed = errors.New("this runner is closed")

// New returns a runner in the best mode that works here: a PID namespace as
// root, one within a user namespace otherwise, else a subreaper. It tries by
// running a supervisor.
func New(ctx context.Context) (*Runner, error) {
	best := Namespace
	if os.Geteuid() != 0 {
		best = UserNamespace
	}
	r := &Runner{Mode: best}
	lesser := r.probe(ctx)
	if lesser == nil {
		return r, nil
	}
	r.Close()
	r = &Runner{Mode: Subreaper, Lesser: lesser}
	if err := r.probe(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("supervise commands: %w", err)
	}
	return r, nil
}

// probe runs a supervisor that makes its namespaces and mounts, and nothing else.
func (r *Runner) probe(ctx context.Context) error {
	c := Command{Argv: []string{"probe"}, Dir: "/", probe: true}
	if _, err := r.Run(ctx, c, io.Discard); err != nil {
		return fmt.Errorf("try a %s: %w", r.Mode, err)
	}
	return nil
}

// Run runs c and copies its standard output and error, which are one pipe, to
// out. It returns when every process of c is dead and all they wrote is in out.
//
// A *StartError means that c cannot be run anywhere. Any other error is this
// machine's: the supervisor could not be started, or out failed (then c is
// killed). A done ctx stops c, and the Exit says how that ended.
func (r *Runner) Run(ctx context.Context, c Command, out io.Writer) (Exit, error) {
	if err := c.validate(); err != nil {
		return Exit{}, err
	}
	if ctx.Err() != nil {
		return Exit{}, fmt.Errorf("run %q: %w", c.Argv[0], context.Cause(ctx))
	}
	p, err := r.take()
	if err != nil {
		return Exit{}, fmt.Errorf("run %q: %w", c.Argv[0], err)
	}
	exit, err := p.run(ctx, c, out)
	r.put(p)
	var start *StartError
	if err != nil && !errors.As(err, &start) {
		err = fmt.Errorf("run %q: %w", c.Argv[0], err)
	}
	return exit, err
}

// Close ends the supervisors once their commands are over. Nothing can be run after it.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	idle := r.idle
	r.idle = nil
	r.mu.Unlock()
	for _, p := range idle {
		p.end()
	}
	r.live.Wait()
}

// take returns an idle supervisor, or a new one.
func (r *Runner) take() (*process, error) {
	if p := r.takeIdle(); p != nil {
		return p, nil
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errClosed
	}
	r.live.Add(1)
	r.mu.Unlock()
	return spawn(r.Mode, r.live.Done)
}

func (r *Runner) takeIdle() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.idle) > 0 {
		p := r.idle[len(r.idle)-1]
		r.idle = r.idle[:len(r.idle)-1]
		p.expiry.Stop()
		if p.alive() {
			return p
		}
		p.end()
	}
	return nil
}

// put keeps a supervisor for the next command, unless it was told to stop one: a
// late order must not hit the next.
func (r *Runner) put(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.spoiled.Load() || r.closed || len(r.idle) >= maxIdle {
		p.end()
		return
	}
	p.expiry = time.AfterFunc(idleFor, func() { r.expire(p) })
	r.idle = append(r.idle, p)
}

func (r *Runner) expire(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.idle, p); i >= 0 {
		r.idle = slices.Delete(r.idle, i, i+1)
		p.end()
	}
}
