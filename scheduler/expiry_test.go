package scheduler

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestCertificateExpiryIsSaidInTime(t *testing.T) {
	begun := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	valid := func(d time.Duration) *x509.Certificate {
		return &x509.Certificate{NotBefore: begun, NotAfter: begun.Add(d)}
	}
	for name, c := range map[string]struct {
		cert   *x509.Certificate
		after  time.Duration
		says   string
		urgent bool
	}{
		"a year, 31 days left":   {valid(365 * day), 334 * day, "", false},
		"a year, 29 days left":   {valid(365 * day), 336 * day, "expires at 2031-01-01T00:00:00Z, in 29 days: renew it with 'weir tls cert create'", false},
		"a year, 6 days left":    {valid(365 * day), 359 * day, "in 6 days", true},
		"a year, an hour over":   {valid(365 * day), 365*day + time.Hour, "has expired", true},
		"a day, half of it left": {valid(day), 12 * time.Hour, "", false},
		"a day, 6 hours left":    {valid(day), 18 * time.Hour, "in 6h0m0s", false},
		"a day, an hour left":    {valid(day), 23 * time.Hour, "in 1h0m0s", true},
	} {
		e := &expiry{certificate: func() *x509.Certificate { return c.cert }}
		text, urgent := e.warning(begun.Add(c.after))
		if !strings.Contains(text, c.says) || (text == "") != (c.says == "") || urgent != c.urgent {
			t.Errorf("%s: %q, urgent %v", name, text, urgent)
		}
	}
}

// One line a day, until the certificate is renewed.
func TestCertificateExpiryIsLoggedOnceADay(t *testing.T) {
	begun := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	cert := &x509.Certificate{NotBefore: begun, NotAfter: begun.Add(365 * day)}
	var log bytes.Buffer
	e := &expiry{certificate: func() *x509.Certificate { return cert }, log: hclog.New(&hclog.LoggerOptions{Output: &log})}
	lines := func(from, to time.Duration) (n int) {
		log.Reset()
		for at := from; at < to; at += expiryEvery {
			e.look(begun.Add(at))
		}
		return strings.Count(log.String(), "\n")
	}
	if n := lines(0, 335*day); n != 0 {
		t.Errorf("%d lines while all is well: %s", n, log.String())
	}
	if n := lines(336*day, 346*day); n != 10 || !strings.Contains(log.String(), "[WARN]") {
		t.Errorf("%d lines in 10 days: %s", n, log.String())
	}
	if n := lines(360*day, 363*day); n != 3 || strings.Count(log.String(), "[ERROR]") != 3 {
		t.Errorf("%d lines in the last days: %s", n, log.String())
	}
	cert = &x509.Certificate{NotBefore: begun.Add(363 * day), NotAfter: begun.Add(700 * day)}
	if n := lines(364*day, 400*day); n != 0 {
		t.Errorf("%d lines after the renewal: %s", n, log.String())
	}
}
