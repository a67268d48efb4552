package scheduler

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/proto/mtls"
)

const (
	day          = 24 * time.Hour
	expiryEvery  = 10 * time.Minute
	expirySoon   = 30 * day // or a third of the validity, if that is less
	expiryUrgent = 7 * day  // or a tenth
	expiryRemedy = "renew it with 'weir tls cert create' and copy the files to the node's --tls-dir; it needs no restart"
)

// expiry warns before the node's certificate ends: without one no other node, no
// worker and no client speaks to this node any more.
type expiry struct {
	certificate func() *x509.Certificate // in use now: a renewed one counts at once
	log         hclog.Logger
	warned      time.Time
}

func newExpiry(node *mtls.Node, log hclog.Logger, reg prometheus.Registerer) *expiry {
	e := &expiry{certificate: node.Certificate, log: log}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_certificate_expiry_seconds",
		Help: "When the node's certificate ends, in seconds since 1970.",
	}, func() float64 { return float64(e.end().Unix()) }))
	return e
}

func (e *expiry) end() time.Time { return e.certificate().NotAfter }

// warning says that the certificate ends soon; empty: it does not.
func (e *expiry) warning(now time.Time) (text string, urgent bool) {
	c := e.certificate()
	validity, left := c.NotAfter.Sub(c.NotBefore), c.NotAfter.Sub(now)
	switch {
	case left <= 0:
		return fmt.Sprintf("the node's certificate has expired at %s: %s", stamp(c.NotAfter), expiryRemedy), true
	case left >= min(expirySoon, validity/3):
		return "", false
	}
	return fmt.Sprintf("the node's certificate expires at %s, in %s: %s", stamp(c.NotAfter), inWords(left), expiryRemedy), left < min(expiryUrgent, validity/10)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func inWords(d time.Duration) string {
	if d < 2*day {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", d/day)
}

// look warns in the log, at most once a day.
func (e *expiry) look(now time.Time) {
	text, urgent := e.warning(now)
	if text == "" || now.Sub(e.warned) < day {
		return
	}
	e.warned = now
	level := hclog.Warn
	if urgent {
		level = hclog.Error
	}
	e.log.Log(level, text)
}

// run looks until ctx ends.
func (e *expiry) run(ctx context.Context) error {
	ticker := time.NewTicker(expiryEvery)
	defer ticker.Stop()
	for {
		e.look(time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
