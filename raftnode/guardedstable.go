package raftnode

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// guardedStable is the stable store (term and vote). Raft cannot live with an
// error of it: a write is tried again until it succeeds.
type guardedStable struct {
	open     func() (stableStore, error)
	settle   func() // waits until the log store has no write left that hangs
	deadline time.Duration
	health   *health
	metrics  *metrics
	log      hclog.Logger
	closing  chan struct{}

	mu    sync.RWMutex // guards store; held for writing only to replace it
	store stableStore

	probing chan struct{} // holds one token while no probe is being written
}

var (
	termKey  = []byte("CurrentTerm") // Raft's own
	probeKey = []byte("weir-probe")
)

func (g *guardedStable) Get(key []byte) ([]byte, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Get(key)
}

func (g *guardedStable) GetUint64(key []byte) (uint64, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.GetUint64(key)
}

func (g *guardedStable) Set(key, value []byte) error {
	return g.write(key, func(s stableStore) error { return s.Set(key, value) })
}

func (g *guardedStable) SetUint64(key []byte, value uint64) error {
	return g.write(key, func(s stableStore) error { return s.SetUint64(key, value) })
}

// write returns an error only when the node stops. A node whose log hangs waits
// here too, so that it does not stand for an office that it could not fill.
func (g *guardedStable) write(key []byte, do func(stableStore) error) error {
	g.settle()
	begun := time.Now()
	late := time.AfterFunc(g.deadline, func() { g.health.bad("stable store", "a write has not ended") })
	defer late.Stop()
	for failures := 1; ; failures++ {
		err := g.attempt(do)
		if err == nil {
			late.Stop()
			g.metrics.store.WithLabelValues("stable").Observe(time.Since(begun).Seconds())
			if was, after := g.health.good("stable store"); was {
				g.log.Info("the stable store works again", "after", after.Round(time.Millisecond))
			}
			return nil
		}
		if g.health.bad("stable store", err.Error()) {
			g.log.Warn("the stable store fails; trying again", "error", err)
		}
		select {
		case <-time.After(backoff(failures)):
		case <-g.closing:
			return g.refusal(key)
		}
		if failures > 1 {
			g.reopen()
		}
	}
}

// refusal is the answer to a write while the node stops. Raft panics when it
// cannot store a term; as every vote and every entry of that term is refused
// from now on, to forget it is harmless.
func (g *guardedStable) refusal(key []byte) error {
	if slices.Equal(key, termKey) {
		return nil
	}
	return ErrClosed
}

func (g *guardedStable) attempt(do func(stableStore) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return do(g.store)
}

// reopen replaces the store. One that cannot be opened again stays, closed, and
// fails once more.
func (g *guardedStable) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log.Debug("closing the failed stable store", "error", g.store.Close())
	store, err := g.open()
	if err != nil {
		g.log.Debug("the stable store cannot be opened again yet", "error", err)
		return
	}
	g.store = store
	g.metrics.reopened.Inc()
}

// probe writes to the disk once, to show that it works.
func (g *guardedStable) probe(ctx context.Context) error {
	select {
	case <-g.probing:
	default:
		return errors.New("an earlier probe of the disk has not ended")
	}
	ended := make(chan error, 1)
	go func() {
		ended <- g.attempt(func(s stableStore) error { return s.Set(probeKey, []byte(time.Now().String())) })
		g.probing <- struct{}{}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close performs a last write and waits at most a moment for it.
func (g *guardedStable) close(last func()) error {
	ended := make(chan error, 1)
	go func() {
		last()
		g.mu.Lock()
		defer g.mu.Unlock()
		ended <- g.store.Close()
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(stopPatience):
		return errors.New("close stable store: a write has not ended")
	}
}
