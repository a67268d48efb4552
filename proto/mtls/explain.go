package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Problem is what is wrong with a connection.
type Problem int

// The problems that an operator can do something about. Those that begin with
// Refused were found by the other side.
const (
	Expired Problem = iota + 1
	ExpiredCA
	NotYetValid
	OtherCA
	PinMismatch
	WrongName
	NotANode
	BadCertificate
	RefusedExpired
	RefusedOtherCA
	RefusedRole
	RefusedCertificate
	RefusedMissing
	RefusedProtocol
	NotTLS
)

const marker = "weir tls: "

// remedies says what happened and what to do. %s is the certificate in question.
var remedies = map[Problem]string{
	Expired:            "the certificate of %s has expired: issue a new one with 'weir tls cert create' and put its files in place, no restart is needed",
	ExpiredCA:          "the CA certificate %s has expired: create a new CA with 'weir tls ca create' and issue every certificate again",
	NotYetValid:        "the certificate of %s is not valid yet: check the clocks of both machines",
	OtherCA:            "the certificate of %s is signed by another CA: this is another cluster, or ca.pem in --tls-dir lacks the CA that signed it",
	PinMismatch:        "the CA of %s is not the pinned one: this is another cluster or an impostor; if the CA was replaced, ask for a new capability with 'weir cap create'",
	WrongName:          "the certificate of %s does not name the address that was dialled: dial one that it names, or issue it again with this host",
	NotANode:           "the certificate of %s is not a node's: issue one with 'weir tls cert create' for the node role",
	BadCertificate:     "the certificate of %s cannot be used here: issue a new one with 'weir tls cert create'",
	RefusedExpired:     "the other side says that our certificate has expired: issue a new one with 'weir tls cert create', and check the clocks of both machines",
	RefusedOtherCA:     "the other side does not know the CA of our certificate: this is another cluster, or its CA file lacks our CA",
	RefusedRole:        "the other side demands a node's certificate: issue one with 'weir tls cert create' for the node role",
	RefusedCertificate: "the other side refused our certificate: its log says why",
	RefusedMissing:     "the other side demands a certificate: give this node one with 'weir tls cert create'",
	RefusedProtocol:    "the other side does not speak this protocol over TLS 1.3: check that the address is a weir node and that both are current versions",
	NotTLS:             "the other side does not speak TLS: check that the address is the port of a weir node",
}

// alerts are the texts of what a peer sends when it refuses, most exact first.
// crypto/tls does not export their types.
var alerts = []struct {
	text    string
	problem Problem
}{
	{"remote error: tls: expired certificate", RefusedExpired},
	{"remote error: tls: revoked certificate", RefusedCertificate},
	{"remote error: tls: unknown certificate authority", RefusedOtherCA},
	{"remote error: tls: unknown certificate", RefusedCertificate},
	{"remote error: tls: access denied", RefusedRole},
	{"remote error: tls: unsupported certificate", RefusedRole},
	{"remote error: tls: certificate required", RefusedMissing},
	{"remote error: tls: bad certificate", RefusedCertificate},
	{"remote error: tls: no application protocol", RefusedProtocol},
	{"remote error: tls: protocol version not supported", RefusedProtocol},
	{"server selected unadvertised ALPN protocol", RefusedProtocol},
	{"first record does not look like a TLS handshake", NotTLS},
}

// Error is a connection that was refused for a reason that has a remedy. Its
// text begins with "weir tls: " and is whole after a trip through a gRPC status.
type Error struct {
	Problem Problem
	Peer    string // the certificate in question, "" when it was not seen
	Detail  string // dates, names or pins that matter
	Err     error  // the error of crypto/tls or crypto/x509, if any
}

func (e *Error) Error() string {
	text := remedies[e.Problem]
	if strings.Contains(text, "%s") {
		peer := e.Peer
		if peer == "" {
			peer = "the other side"
		}
		text = fmt.Sprintf(text, peer)
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return marker + text
}

func (e *Error) Unwrap() error { return e.Err }

// Explain returns one sentence that says what is wrong and what to do about it,
// or "" when err is not about TLS. It also understands errors that have lost
// their type on the way through gRPC.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](Classify(err)); ok {
		return strings.TrimPrefix(e.Error(), marker)
	}
	if _, text, ok := strings.Cut(err.Error(), marker); ok {
		return strings.TrimRight(text, `"`)
	}
	return ""
}

// Classify returns err as an *Error when it is about TLS, else err itself.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fromX509(e, e.UnverifiedCertificates[0])
	}
	text := err.Error()
	for _, a := range alerts {
		if strings.Contains(text, a.text) {
			return &Error{Problem: a.problem, Err: err}
		}
	}
	return err
}

// fromX509 names what x509 found wrong with the chain of leaf.
func fromX509(err error, leaf *x509.Certificate) *Error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch {
		case invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
			return refuse(NotYetValid, invalid.Cert, err)
		case invalid.Reason == x509.Expired && invalid.Cert.IsCA:
			return refuse(ExpiredCA, invalid.Cert, err)
		case invalid.Reason == x509.Expired:
			return refuse(Expired, invalid.Cert, err)
		case invalid.Reason == x509.IncompatibleUsage:
			return refuse(NotANode, leaf, err)
		}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return refuse(OtherCA, leaf, err)
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return refuse(WrongName, leaf, err)
	}
	return refuse(BadCertificate, leaf, err)
}

// refuse makes the error for a problem with a certificate, which may be nil.
func refuse(p Problem, cert *x509.Certificate, err error) *Error {
	e := &Error{Problem: p, Err: err}
	if cert == nil {
		return e
	}
	e.Peer = describe(cert)
	switch p {
	case Expired, ExpiredCA:
		e.Detail = "on " + cert.NotAfter.UTC().Format(time.RFC3339)
	case NotYetValid:
		e.Detail = "before " + cert.NotBefore.UTC().Format(time.RFC3339)
	case WrongName:
		e.Detail = printable(hostDetail(cert, err))
	case BadCertificate:
		e.Detail = printable(err.Error())
	}
	return e
}

func hostDetail(cert *x509.Certificate, err error) string {
	names := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	detail := "it names " + strings.Join(names, ", ")
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		detail = "dialled " + wrong.Host + ", " + detail
	}
	return detail
}

// printable makes text that a stranger chose fit for one line of a log.
func printable(text string) string {
	const most = 200
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
