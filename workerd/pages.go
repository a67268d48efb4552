package workerd

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// Pages that every worker has.
const (
	MetricsPage = "metrics"      // the worker's own
	HostPage    = "host-metrics" // its machine's, from a node exporter
)

// DefaultHostPage is where Prometheus' node exporter listens.
const DefaultHostPage = "http://127.0.0.1:9100/metrics"

const (
	pageTime  = 5 * time.Second
	pageBytes = 8 << 20 // before it is packed
	// packedBytes is the most that the leader takes. A message beyond the nodes'
	// own limit would end the session.
	packedBytes = 1 << 20
)

// pages are what the cluster may ask a worker for.
type pages struct {
	own    prometheus.Gatherer
	others map[string]string // URLs on this machine, by name
	client *http.Client
}

// newPages takes NAME=URL pairs, which may replace the machine's own page.
func newPages(own prometheus.Gatherer, pairs []string) (*pages, error) {
	p := &pages{own: own, others: map[string]string{HostPage: DefaultHostPage}, client: &http.Client{Timeout: pageTime}}
	for _, pair := range pairs {
		name, where, _ := strings.Cut(pair, "=")
		if err := checkPage(name, where); err != nil {
			return nil, fmt.Errorf("--metrics-page %s: %w", pair, err)
		}
		p.others[name] = where
	}
	return p, nil
}

// checkPage wants a page of this machine: the cluster must not be a way to make
// a worker ask others.
func checkPage(name, where string) error {
	if name == "" || name == MetricsPage || strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) {
		return fmt.Errorf("the name %q is not lower-case letters, digits, - and _, or it is %q", name, MetricsPage)
	}
	u, err := url.Parse(where)
	if err != nil {
		return err
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); u.Scheme != "http" || u.User != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("it must be an http URL of this machine's loopback, like " + DefaultHostPage)
	}
	return nil
}

// page returns a page, gzipped.
func (p *pages) page(ctx context.Context, name string) ([]byte, error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	write := p.relay
	if name == MetricsPage {
		write = p.gather
	}
	if err := errors.Join(write(ctx, name, zip), zip.Close()); err != nil {
		return nil, err
	}
	if packed.Len() > packedBytes {
		return nil, fmt.Errorf("page %s has %d bytes when it is packed, more than %d", name, packed.Len(), packedBytes)
	}
	return packed.Bytes(), nil
}

func (p *pages) gather(_ context.Context, _ string, to io.Writer) error {
	families, err := p.own.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	text := expfmt.NewEncoder(to, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := text.Encode(f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}

func (p *pages) relay(ctx context.Context, name string, to io.Writer) error {
	where, ok := p.others[name]
	if !ok {
		all := append(slices.Sorted(maps.Keys(p.others)), MetricsPage)
		return fmt.Errorf("there is no page %q; there are %s", name, strings.Join(all, ", "))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	answer, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("page %s: %w: is the exporter running on the worker's machine? --metrics-page %s=URL says where", name, err, name)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("page %s: %s answered %s", name, where, answer.Status)
	}
	n, err := io.Copy(to, io.LimitReader(answer.Body, pageBytes+1))
	if err == nil && n > pageBytes {
		err = fmt.Errorf("more than %d bytes", pageBytes)
	}
	if err != nil {
		return fmt.Errorf("page %s: read %s: %w", name, where, err)
	}
	return nil
}
