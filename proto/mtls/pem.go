package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// Pair is a certificate, the authority that signed it, and its key, as PEM.
type Pair struct {
	CertPEM []byte // the certificate, then the authority's
	KeyPEM  []byte // PKCS #8
}

func newPair(cert, ca *x509.Certificate, key *ecdsa.PrivateKey) (*Pair, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return &Pair{
		CertPEM: append(certPEM(cert), certPEM(ca)...),
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}),
	}, nil
}

// Save writes both files, each whole or not at all, the key with mode 0600, and
// replaces older ones: running nodes pick them up. The certificate goes last, so that a
// reader that sees it change finds its key already there.
func (p *Pair) Save(certFile, keyFile string) error {
	if err := WriteSecret(keyFile, p.KeyPEM); err != nil {
		return err
	}
	return writeFile(certFile, p.CertPEM, publicMode, os.Rename)
}

// TLS returns the pair for use in memory.
func (p *Pair) TLS() (tls.Certificate, error) {
	return tls.X509KeyPair(p.CertPEM, p.KeyPEM)
}

// CertPEM returns the authority's certificate, which every node needs.
func (a *Authority) CertPEM() []byte {
	return certPEM(a.Cert)
}

// Save writes a new authority. It replaces nothing: when either file exists it
// returns an error, because losing a CA key means to set up every node again.
func (a *Authority) Save(certFile, keyFile string) error {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return fmt.Errorf("encode CA key: %w", err)
	}
	if _, err := os.Lstat(certFile); err == nil {
		return fmt.Errorf("create CA: %s exists: %w", certFile, fs.ErrExist)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})
	if err := CreateSecret(keyFile, key); err != nil {
		return fmt.Errorf("create CA: %w", err)
	}
	if err := writeFile(certFile, a.CertPEM(), publicMode, os.Link); err != nil {
		return fmt.Errorf("create CA: %w", err)
	}
	return nil
}

// LoadAuthority reads an authority that Save wrote.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	certs, err := readCerts(certFile)
	if err != nil {
		return nil, err
	}
	data, err := ReadSecret(keyFile)
	if err != nil {
		return nil, fmt.Errorf("load CA key: %w", err)
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("load CA key %s: %w", keyFile, err)
	}
	cert := certs[0]
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("load CA: %s is not the key of %s", keyFile, certFile)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("load CA: %s is not a CA certificate", certFile)
	}
	return &Authority{Cert: cert, key: key}, nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("no PEM block %q found", keyBlock)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

// readCerts reads every certificate of a PEM file; there is at least one.
func readCerts(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	certs, err := parseCerts(data)
	if err != nil {
		return nil, fmt.Errorf("read certificates from %s: %w", path, err)
	}
	return certs, nil
}

func parseCerts(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != certBlock {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM certificate found")
	}
	return certs, nil
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw})
}
