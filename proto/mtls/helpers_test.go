package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const deadline = 20 * time.Second

func newCA(t *testing.T) *Authority {
	t.Helper()
	ca, err := NewAuthority("test cluster", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// expiredCA is an authority that ended an hour ago.
func expiredCA(t *testing.T) *Authority {
	t.Helper()
	ca := newCA(t)
	again := *ca.Cert
	again.NotBefore, again.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	cert, err := sign(&again, &again, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{Cert: cert, key: ca.key}
}

func nodeRequest() Request {
	return Request{Role: RoleNode, Name: "n1", Hosts: []string{"127.0.0.1", "::1", "n1.example.org"}, Valid: time.Hour}
}

func issue(t *testing.T, ca *Authority, r Request) *Pair {
	t.Helper()
	p, err := ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func save(t *testing.T, dir string, p *Pair, cas ...*Authority) Files {
	t.Helper()
	f := Files{Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node.key"), CA: filepath.Join(dir, "ca.pem")}
	if err := p.Save(f.Cert, f.Key); err != nil {
		t.Fatal(err)
	}
	var bundle []byte
	for _, ca := range cas {
		bundle = append(bundle, ca.CertPEM()...)
	}
	if err := os.WriteFile(f.CA, bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

func newNode(t *testing.T, ca *Authority) *Node {
	t.Helper()
	n, err := LoadNode(save(t, t.TempDir(), issue(t, ca, nodeRequest()), ca), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// static serves a pair as it is, also one that LoadNode would refuse.
func static(t *testing.T, p *Pair, clientCA *Authority) *tls.Config {
	t.Helper()
	cert, err := p.TLS()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if clientCA != nil {
		pool.AddCert(clientCA.Cert)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{ProtoGRPC}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
}

// listen serves one byte to every connection that passes the handshake, and
// reports on each connection what the server saw.
func listen(t *testing.T, config *tls.Config) (addr string, seen <-chan tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states, done := make(chan tls.ConnectionState, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, config)
			raw.SetDeadline(time.Now().Add(deadline))
			if conn.Handshake() == nil {
				states <- conn.ConnectionState()
				conn.Write([]byte{'!'})
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), states
}

// dial makes a handshake and reads the byte: in TLS 1.3 a client learns only
// then that its own certificate was refused.
func dial(addr string, config *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: deadline}, "tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(deadline))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}
