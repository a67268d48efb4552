package workerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"
)

// httpServer serves metrics and health on loopback.
type httpServer struct {
	server *http.Server
	lis    net.Listener
}

// listenHTTP takes the address; nil for an empty one. Nobody chose the default
// one, so a second worker on the machine goes without.
func (w *Worker) listenHTTP() (*httpServer, error) {
	addr := w.cfg.MetricsListen
	if addr == "" {
		return nil, nil
	}
	lis, err := net.Listen("tcp", addr)
	if errors.Is(err, unix.EADDRINUSE) && addr == DefaultMetricsListen {
		w.log.Warn("serves no metrics: another process has the default address: give this worker its own --metrics-listen", "address", addr)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listen for --metrics-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, "") })
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.unready()) })
	return &httpServer{lis: lis, server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}, nil
}

// unready is why the worker would not get a job now.
func (w *Worker) unready() string {
	if why := w.why(); why != "" {
		return why
	}
	if w.session.Link() == nil {
		return "no session with the cluster"
	}
	return ""
}

func answer(rw http.ResponseWriter, why string) {
	if why != "" {
		rw.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(rw, why) // the client is gone if it fails
		return
	}
	_, _ = fmt.Fprintln(rw, "ok") // likewise
}

// run serves until ctx ends.
func (h *httpServer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = h.server.Close() }) // the listener's close is all that matters
	defer stop()
	if err := h.server.Serve(h.lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// address is what h listens on, for the log.
func (h *httpServer) address() string {
	if h == nil {
		return "none"
	}
	return h.lis.Addr().String()
}

func (h *httpServer) close() error {
	if err := h.lis.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
