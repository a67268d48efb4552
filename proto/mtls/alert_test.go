package mtls

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
)

// What other TLS libraries say when they refuse a certificate: a Go client says
// bad_certificate, OpenSSL unknown_ca, browsers and Java certificate_unknown.
func TestAlertsAreUnderstood(t *testing.T) {
	for alert, want := range map[tls.AlertError]Problem{
		42: RefusedCertificate, 43: RefusedRole, 44: RefusedCertificate, 45: RefusedExpired, 46: RefusedCertificate,
		48: RefusedOtherCA, 49: RefusedRole, 70: RefusedProtocol, 116: RefusedMissing, 120: RefusedProtocol,
	} {
		err := Classify(&net.OpError{Op: "remote error", Err: alert})
		if e, ok := errors.AsType[*Error](err); !ok || e.Problem != want {
			t.Errorf("alert %d: %v, want problem %d", alert, err, want)
		}
	}
}
