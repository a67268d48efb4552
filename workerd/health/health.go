// Package health tries out, now and then, whether a worker can still build: a trivial
// build of each kind of job that it takes.
//
// It promises that asking for the result never waits for a build, that kinds are tried
// one after another, each within a limit of time, and that a kind which fails is tried
// again more often, so that a worker goes on soon after it was mended.
//
// It refuses to mend anything, and to say what follows from a failure: the worker
// decides.
package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// limit is how long a trivial build may take. A machine that is merely busy
	// needs seconds.
	limit = 2 * time.Minute
	// retry is how soon a check is repeated that found something broken.
	retry = 15 * time.Second
)

// Kind is a kind of job, with its trivial build.
type Kind struct {
	Name  string
	Build func(context.Context) error
}

// Config is what a Checker needs.
type Config struct {
	Every      time.Duration // between two checks; 0: there are none
	Kinds      []Kind
	Changed    func() // called when Why answers something else; must not wait
	Log        hclog.Logger
	Registerer prometheus.Registerer // nil: none
}

// Checker checks one worker.
type Checker struct {
	cfg    Config
	passed *prometheus.GaugeVec

	mu  sync.Mutex
	why string
}

// New makes a checker, whose first check is Run's.
func New(c Config) *Checker {
	h := &Checker{cfg: c, passed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "weir_worker_health_check_passed", Help: "1 if the latest trivial build of a kind of job succeeded, else 0."}, []string{"kind"})}
	if c.Registerer != nil {
		c.Registerer.MustRegister(h.passed)
	}
	if h.checks() {
		h.why = "its first health check has not ended yet"
	}
	return h
}

func (h *Checker) checks() bool { return h.cfg.Every > 0 && len(h.cfg.Kinds) > 0 }

// Why says what the latest check found broken; "" when nothing was.
func (h *Checker) Why() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// Run checks until ctx ends.
func (h *Checker) Run(ctx context.Context) {
	if !h.checks() {
		return
	}
	for {
		why, ended := h.check(ctx)
		if ended {
			return
		}
		h.tell(why)
		wait := h.cfg.Every
		if why != "" {
			wait = min(wait, retry)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// check tries every kind, and says what the first one that fails says. ended is true
// where ctx has ended, which is no failure.
func (h *Checker) check(ctx context.Context) (why string, ended bool) {
	for _, k := range h.cfg.Kinds {
		err := try(ctx, k)
		if ctx.Err() != nil {
			return "", true
		}
		if err == nil {
			h.passed.WithLabelValues(k.Name).Set(1)
			continue
		}
		h.passed.WithLabelValues(k.Name).Set(0)
		h.cfg.Log.Debug("a health check failed", "kind", k.Name, "error", err)
		if why == "" {
			why = fmt.Sprintf("its health check of %s jobs fails: %s", k.Name, err)
		}
	}
	return why, false
}

// errSlow is the cause with which a trivial build that takes too long ends.
var errSlow = errors.New("a trivial build takes longer than " + limit.String())

func try(ctx context.Context, k Kind) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	err := k.Build(ctx)
	if err != nil && context.Cause(ctx) == errSlow {
		return errSlow
	}
	return err
}

func (h *Checker) tell(why string) {
	h.mu.Lock()
	changed := why != h.why
	h.why = why
	h.mu.Unlock()
	if changed && h.cfg.Changed != nil {
		h.cfg.Changed()
	}
}
