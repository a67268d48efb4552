package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// backdate is how far before now a validity begins, so that machines whose
// clocks are a little behind accept a fresh certificate.
const backdate = 5 * time.Minute

// Authority is a cluster's certificate authority: its certificate and the key
// that signs. Only the machine that issues certificates needs it; nodes hold
// just the certificate.
type Authority struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// Request says what a certificate is for.
type Request struct {
	Role      Role
	Name      string        // letters, digits, '.', '_' and '-', at most 63, first a letter or digit
	Hosts     []string      // DNS names and IP addresses that clients dial, without port; a node needs one
	NotBefore time.Time     // zero: five minutes ago
	Valid     time.Duration // from now, or from NotBefore; cut to the authority's own end
}

// NewAuthority makes an authority with a fresh ECDSA P-256 key, valid from now.
// The name is only for people who look at the certificate.
func NewAuthority(name string, valid time.Duration) (*Authority, error) {
	if valid <= 0 {
		return nil, fmt.Errorf("create CA %q: the validity must be positive, have %v", name, valid)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create CA %q: %w", name, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(valid),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create CA %q: %w", name, err)
	}
	return &Authority{Cert: cert, key: key}, nil
}

// Issue makes a key and a certificate for it.
func (a *Authority) Issue(r Request) (*Pair, error) {
	template, err := r.template(a.Cert.NotAfter)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", r.Name, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", r.Name, err)
	}
	cert, err := sign(template, a.Cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", r.Name, err)
	}
	return newPair(cert, a.Cert, key)
}

func (r Request) template(end time.Time) (*x509.Certificate, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.Name},
		NotBefore:   r.NotBefore,
		NotAfter:    r.NotBefore.Add(r.Valid),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{identityURI(roleHost, string(r.Role)), identityURI(nameHost, r.Name)},
	}
	if r.NotBefore.IsZero() {
		now := time.Now()
		t.NotBefore, t.NotAfter = now.Add(-backdate), now.Add(r.Valid)
	}
	if t.NotAfter.After(end) {
		t.NotAfter = end
	}
	if !t.NotAfter.After(t.NotBefore) {
		return nil, fmt.Errorf("the CA itself ends at %s: create a new CA", end.UTC().Format(time.RFC3339))
	}
	if r.Role == RoleNode {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, strings.ToLower(h))
		}
	}
	return t, nil
}

var validHost = regexp.MustCompile(`^(?i)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)

func (r Request) check() error {
	switch {
	case r.Role != RoleNode && r.Role != RoleClient:
		return fmt.Errorf("unknown role %q: use %q or %q", r.Role, RoleNode, RoleClient)
	case !validName.MatchString(r.Name):
		return errors.New("a name is 1 to 63 letters, digits, '.', '_' and '-', and begins with a letter or digit")
	case r.Valid <= 0:
		return fmt.Errorf("the validity must be positive, have %v", r.Valid)
	case r.Role == RoleNode && len(r.Hosts) == 0:
		return errors.New("a node needs at least one host name or IP address that clients dial")
	}
	for _, h := range r.Hosts {
		if net.ParseIP(h) == nil && (len(h) > 253 || !validHost.MatchString(h)) {
			return fmt.Errorf("host %q is neither an IP address nor a DNS name (give it without a port)", h)
		}
	}
	return nil
}

// sign fills in the serial number and returns the parsed certificate.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
