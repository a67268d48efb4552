package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// recheck is how often, at most, a handshake looks whether the files changed.
const recheck = time.Second

// Files names the PEM files of a node.
type Files struct {
	Cert string // the node's certificate; a chain is allowed
	Key  string // its key, not readable by other users
	CA   string // every authority that is trusted now; two while one replaces the other
}

// Node is a node's identity: its certificate, its key, and the authorities that
// it trusts. Handshakes use the files as they are on disk now; when a change
// cannot be used (a key that does not fit, say) the last good state stays in
// use and the reason is logged once.
type Node struct {
	files Files
	log   hclog.Logger

	mu      sync.Mutex
	checked time.Time
	stamps  [3]fs.FileInfo
	current *material
}

// material is one consistent reading of the files; it never changes.
type material struct {
	cert tls.Certificate // with the authority that signed it at the end of its chain
	pool *x509.CertPool
	cas  []*x509.Certificate
}

// LoadNode reads the files. It refuses a certificate that is not signed by an
// authority in the CA file, is not valid now, or lacks the node role.
func LoadNode(files Files, log hclog.Logger) (*Node, error) {
	n := &Node{files: files, log: log, checked: time.Now(), stamps: files.stat()}
	var err error
	if n.current, err = files.load(n.checked); err != nil {
		return nil, fmt.Errorf("load node certificate: %w", err)
	}
	return n, nil
}

// Certificate returns the certificate in use.
func (n *Node) Certificate() *x509.Certificate {
	return n.material().cert.Leaf
}

// Pins returns the pins of the trusted authorities, for new capabilities.
func (n *Node) Pins() []Pin {
	var pins []Pin
	for _, ca := range n.material().cas {
		pins = append(pins, Fingerprint(ca))
	}
	return pins
}

func (n *Node) material() *material {
	return n.refresh(time.Now())
}

// refresh returns what the files hold, reading them again when they changed.
func (n *Node) refresh(now time.Time) *material {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.checked) < recheck {
		return n.current
	}
	n.checked = now
	stamps := n.files.stat()
	if slices.EqualFunc(stamps[:], n.stamps[:], sameFile) {
		return n.current
	}
	n.stamps = stamps
	m, err := n.files.load(now)
	if err != nil {
		n.log.Warn("keep using the previous certificate", "error", err)
		return n.current
	}
	n.log.Info("certificate files reloaded", "name", NodeName(m.cert.Leaf), "valid_until", m.cert.Leaf.NotAfter)
	n.current = m
	return m
}

func (f Files) load(now time.Time) (*material, error) {
	cas, err := readCerts(f.CA)
	if err != nil {
		return nil, err
	}
	cert, err := f.loadPair()
	if err != nil {
		return nil, err
	}
	m := &material{cert: cert, cas: cas, pool: x509.NewCertPool()}
	for _, ca := range cas {
		m.pool.AddCert(ca)
	}
	chain, err := m.verify(now)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", f.Cert, err)
	}
	if !IsNode(cert.Leaf) || NodeName(cert.Leaf) == "" {
		return nil, fmt.Errorf("check %s: %w", f.Cert, refuse(NotANode, cert.Leaf, nil))
	}
	m.cert.Certificate = nil
	for _, c := range chain { // clients that know only the CA's pin need it in the chain
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
	return m, nil
}

func (f Files) loadPair() (tls.Certificate, error) {
	certs, err := os.ReadFile(f.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ReadSecret(f.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certs, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("use %s with %s: %w", f.Cert, f.Key, err)
	}
	return pair, nil
}

func (m *material) verify(now time.Time) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, der := range m.cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		between.AddCert(c)
	}
	chains, err := m.cert.Leaf.Verify(x509.VerifyOptions{
		Roots: m.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, fromX509(err, m.cert.Leaf)
	}
	return chains[0], nil
}

// stat notes what the files look like; nil stands for one that is not there.
func (f Files) stat() (stamps [3]fs.FileInfo) {
	for i, path := range []string{f.Cert, f.Key, f.CA} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = info
		}
	}
	return stamps
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
