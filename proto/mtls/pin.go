package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

const pinPrefix = "sha256:"

// Pin identifies a certificate authority by the SHA-256 of its public key (the
// DER of the certificate's SubjectPublicKeyInfo). An authority's certificate
// that is renewed with the same key keeps its pin.
type Pin [sha256.Size]byte

// Fingerprint returns the pin of an authority's certificate.
func Fingerprint(ca *x509.Certificate) Pin {
	return sha256.Sum256(ca.RawSubjectPublicKeyInfo)
}

// ParsePin reads the printed form, sha256: and 64 lower-case hex digits.
func ParsePin(text string) (Pin, error) {
	var p Pin
	digits, ok := strings.CutPrefix(text, pinPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(p)) || strings.ToLower(digits) != digits {
		return p, fmt.Errorf("parse CA pin: want %s and 64 lower-case hex digits, have %d bytes", pinPrefix, len(text))
	}
	if _, err := hex.Decode(p[:], []byte(digits)); err != nil {
		return p, fmt.Errorf("parse CA pin: %w", err)
	}
	return p, nil
}

// String returns the printed form, sha256: and 64 lower-case hex digits.
func (p Pin) String() string {
	return pinPrefix + hex.EncodeToString(p[:])
}

// pinned returns the authority in a presented chain whose key is one of pins.
// The certificate must be signed by that same key: x509 does not check the
// signature of a root, and a server could otherwise present the pinned key in a
// certificate of its own making, with another validity or other constraints.
func pinned(chain []*x509.Certificate, pins []Pin) (*x509.Certificate, bool) {
	for _, cert := range chain {
		if cert.IsCA && slices.Contains(pins, Fingerprint(cert)) && cert.CheckSignatureFrom(cert) == nil {
			return cert, true
		}
	}
	return nil, false
}
