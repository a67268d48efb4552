package scheduler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weirbuild/weir/proto/mtls"
)

// web serves what monitoring asks a node over HTTPS, with the node's
// certificate. It shows nothing of the jobs, so it asks for no capability.
type web struct {
	listener net.Listener // nil: not wanted
	server   *http.Server
}

func (s *Server) openWeb() error {
	s.web = &web{}
	if s.cfg.HTTPListen == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.cfg.HTTPListen)
	if err != nil {
		return fmt.Errorf("listen for HTTPS (--http-listen): %w", err)
	}
	s.web.listener = l
	s.web.server = &http.Server{
		Handler:           s.pages(),
		TLSConfig:         webTLS(s.tls),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.log.Named("http").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return nil
}

func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := s.unready(); len(why) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, "not ready: "+strings.Join(why, "\nnot ready: "))
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /pool/{pool}/worker/{worker}/{page}", s.serveWorkerPage)
	mux.HandleFunc("GET /sd", s.serveDiscovery)
	return mux
}

// unready lists why this node should get no traffic.
func (s *Server) unready() []string {
	var why []string
	if st := s.store.Node().Status(); !st.Ready {
		why = append(why, st.Why)
	}
	if text := s.skew.why(); text != "" {
		why = append(why, text)
	}
	return why
}

// webTLS is the node's TLS configuration for browsers and monitoring.
func webTLS(node *mtls.Node) *tls.Config {
	port := node.ServerConfig()
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := port.GetConfigForClient(hello)
			if err != nil {
				return nil, err
			}
			c.NextProtos, c.ClientAuth = []string{"h2", "http/1.1"}, tls.NoClientCert
			return c, nil
		},
	}
}

// address is where the pages are; empty: nowhere.
func (w *web) address() string {
	if w.listener == nil {
		return ""
	}
	return w.listener.Addr().String()
}

func (w *web) run(ctx context.Context) error {
	if w.listener == nil {
		return nil
	}
	served := make(chan error, 1)
	go func() {
		err := w.server.ServeTLS(w.listener, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		served <- err
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.server.Shutdown(patience); err != nil {
		return errors.Join(err, w.server.Close(), <-served)
	}
	return <-served
}
