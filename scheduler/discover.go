package scheduler

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
)

// serveWorkerPage answers GET /pool/POOL/worker/WORKER/PAGE with a page of the
// worker's metrics, which come over the worker's own session: nobody needs a way
// to the worker.
func (s *Server) serveWorkerPage(w http.ResponseWriter, r *http.Request) {
	zipped, err := s.api.Page(r.Context(), r.PathValue("pool"), r.PathValue("worker"), r.PathValue("page"))
	if err != nil {
		http.Error(w, err.Error(), pageStatus(err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(zipped)))
		_, _ = w.Write(zipped) // the caller is gone if it fails
		return
	}
	if text, err := gzip.NewReader(bytes.NewReader(zipped)); err == nil {
		_, _ = io.Copy(w, io.LimitReader(text, pageBytes)) // a damaged page ends early
	}
}

// pageBytes is the most of a worker's page that is unpacked for a caller.
const pageBytes = 16 << 20

func pageStatus(err error) int {
	if refusal, ok := errors.AsType[*fsm.Refusal](err); ok && refusal.Kind == fsm.NotFound || status.Code(err) == codes.NotFound {
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

// targetGroup is one entry of Prometheus' HTTP service discovery.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serveDiscovery answers GET /sd: every node at its advertised host and this
// node's own HTTPS port, and every registered worker as a page of this node. The
// parameter of=nodes, of=workers or of=PAGE asks for a part: PAGE is a page of
// the workers, such as host-metrics.
func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	of := r.URL.Query().Get("of")
	groups := []targetGroup{}
	if of == "" || of == "nodes" {
		groups = append(groups, s.nodeTargets()...)
	}
	if of != "nodes" {
		page := "metrics"
		if of != "" && of != "workers" {
			page = of
		}
		groups = append(groups, s.workerTargets(r.Host, page)...)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups) // the caller is gone if it fails
}

func (s *Server) nodeTargets() (groups []targetGroup) {
	_, port, err := net.SplitHostPort(s.web.address())
	if err != nil {
		return nil
	}
	for _, m := range s.store.Node().Members() {
		host, _, err := net.SplitHostPort(m.Address)
		if err != nil {
			continue
		}
		groups = append(groups, targetGroup{
			Targets: []string{net.JoinHostPort(host, port)},
			Labels:  map[string]string{"__scheme__": "https", "job": "weir-nodes", "instance": m.Name, "voter": strconv.FormatBool(m.Voter)},
		})
	}
	return groups
}

func (s *Server) workerTargets(host, page string) (groups []targetGroup) {
	s.store.View(func(st *fsm.State) {
		for w := range st.Workers("") {
			groups = append(groups, targetGroup{
				Targets: []string{host},
				Labels: map[string]string{
					"__scheme__": "https", "__metrics_path__": "/pool/" + w.Pool + "/worker/" + w.Name + "/" + page,
					"job": "weir-worker", "instance": w.Name, "pool": w.Pool,
				},
			})
		}
	})
	return groups
}
