package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/raftnode"
)

// Run serves until ctx ends or a part fails. A server runs once.
func (s *Server) Run(ctx context.Context) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	base := context.WithoutCancel(ctx)
	part := func(name string, ctx context.Context, run func(context.Context) error) (stop func()) {
		ctx, cancel := context.WithCancel(ctx)
		var done sync.WaitGroup
		done.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
		return func() { cancel(); done.Wait() }
	}

	// In the order of start; the deferred stops run in reverse.
	defer func() { err = errors.Join(err, s.release()) }()
	defer part("port", base, s.mux.Run)()
	defer part("log store", base, s.disk.Run)()
	defer part("peers", base, s.peers.Run)()
	defer part("logs", base, s.logs.Run)()
	defer part("revocations", base, s.watchRevocations)()
	defer part("watches", base, s.api.Run)()
	defer part("gRPC", base, s.serveGRPC)()
	defer part("clock skew", base, s.skew.run)()
	defer part("certificate", base, s.expiry.run)()
	defer part("HTTP", base, s.web.run)()

	s.log.Info("node starts", "name", s.cfg.Name, "listen", s.cfg.Listen, "advertise", s.cfg.advertised(), "http", s.web.address(), "version", s.cfg.Version)
	err = s.store.Run(ctx, s.term) // hands the office over when ctx ends
	if cause := context.Cause(ctx); err == nil && ctx.Err() != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("run node %s: %w", s.cfg.Name, err)
	}
	s.log.Info("node stops", "name", s.cfg.Name)
	return nil
}

// term is what this node does while it leads.
func (s *Server) term(office context.Context) error {
	g, ctx := errgroup.WithContext(office)
	g.Go(func() error { return s.leader.Run(ctx) })
	g.Go(func() error { return s.logs.Lead(ctx) })
	g.Go(func() error { return s.raiseLevel(ctx) })
	return g.Wait()
}

func (s *Server) watchRevocations(ctx context.Context) error {
	return s.guard.Run(ctx, s.store, s.leader.CapabilityRevoked)
}

// serveGRPC serves until ctx ends; then open streams end at once, to be resumed
// on another node, and calls in progress have a moment to end.
func (s *Server) serveGRPC(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.mux.GRPC()) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	close(s.stopping)
	s.guard.EndAll(fmt.Errorf("node %s is stopping: %w", s.cfg.Name, raftnode.ErrClosed))
	late := time.AfterFunc(drainTime, s.grpc.Stop)
	s.grpc.GracefulStop()
	late.Stop()
	s.guard.Wait()
	return <-served
}
