package mtls

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Role says what the holder of a certificate is. It is carried as the URI
// subject alternative name weir://role/ROLE.
type Role string

const (
	// RoleNode may serve clients, speak the Raft protocol and call
	// node-to-node services.
	RoleNode Role = "node"
	// RoleClient may only dial; it cannot pose as a server.
	RoleClient Role = "client"
)

const (
	uriScheme = "weir"
	roleHost  = "role"
	nameHost  = "name"
)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// IsNode reports whether the certificate carries the node role. It says nothing
// about who signed it: ask only about certificates that TLS has verified.
func IsNode(cert *x509.Certificate) bool {
	return HasRole(cert, RoleNode)
}

// HasRole reports whether the certificate carries the role.
func HasRole(cert *x509.Certificate, role Role) bool {
	if cert == nil {
		return false
	}
	for _, u := range cert.URIs {
		if value, ok := identityValue(u, roleHost); ok && value == string(role) {
			return true
		}
	}
	return false
}

// NodeName returns the name in a node's certificate, or "" when the certificate
// is not a node's or does not carry exactly one valid name.
func NodeName(cert *x509.Certificate) string {
	if !IsNode(cert) {
		return ""
	}
	return name(cert)
}

// name returns the one name that the certificate carries, or "".
func name(cert *x509.Certificate) string {
	found := ""
	for _, u := range cert.URIs {
		value, ok := identityValue(u, nameHost)
		if !ok {
			continue
		}
		if found != "" || !validName.MatchString(value) {
			return ""
		}
		found = value
	}
	return found
}

// identityValue returns VALUE of weir://kind/VALUE. Anything beyond that exact
// form (user, port, query, fragment, more path) is not an identity.
func identityValue(u *url.URL, kind string) (string, bool) {
	value := strings.TrimPrefix(u.Path, "/")
	if value == "" || u.String() != identityURI(kind, value).String() {
		return "", false
	}
	return value, true
}

func identityURI(kind, value string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: kind, Path: "/" + value}
}

// describe names a certificate for an error message.
func describe(cert *x509.Certificate) string {
	if n := name(cert); n != "" {
		return n
	}
	if cert.Subject.CommonName != "" {
		return printable(cert.Subject.CommonName)
	}
	return fmt.Sprintf("serial %x", cert.SerialNumber)
}
