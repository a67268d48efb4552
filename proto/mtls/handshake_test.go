package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNodesTrustEachOther(t *testing.T) {
	ca := newCA(t)
	server, client := newNode(t, ca), newNode(t, ca)
	addr, seen := listen(t, server.ServerConfig())
	for _, protocol := range []string{ProtoGRPC, ProtoRaft} {
		state, err := dial(addr, client.ClientConfig(protocol))
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != protocol {
			t.Errorf("version %x protocol %q, want TLS 1.3 and %q", state.Version, state.NegotiatedProtocol, protocol)
		}
		peer := (<-seen).PeerCertificates[0]
		if !IsNode(peer) || NodeName(peer) != "n1" {
			t.Errorf("the server sees node %v, name %q", IsNode(peer), NodeName(peer))
		}
	}
}

func TestPinnedClient(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	addr, seen := listen(t, newNode(t, ca).ServerConfig())
	state, err := dial(addr, PinnedConfig([]Pin{Fingerprint(other.Cert), Fingerprint(ca.Cert)}, addr, ProtoGRPC))
	if err != nil {
		t.Fatal(err)
	}
	if len(state.PeerCertificates) != 2 {
		t.Errorf("the server presents %d certificates, want its own and the CA's", len(state.PeerCertificates))
	}
	if peers := (<-seen).PeerCertificates; len(peers) != 0 {
		t.Errorf("a pinned client presented %d certificates", len(peers))
	}
}

func TestPinnedClientRefuses(t *testing.T) {
	ca, other, ended := newCA(t), newCA(t), expiredCA(t)
	past := nodeRequest()
	past.NotBefore, past.Valid = time.Now().Add(-2*time.Hour), time.Hour
	future := nodeRequest()
	future.NotBefore, future.Valid = time.Now().Add(30*time.Minute), time.Minute
	elsewhere := nodeRequest()
	elsewhere.Hosts = []string{"192.0.2.7", "elsewhere.example.org"}
	client := nodeRequest()
	client.Role = RoleClient
	for name, c := range map[string]struct {
		issuer  *Authority
		request Request
		pin     *Authority
		want    Problem
		remedy  string
	}{
		"expired":       {ca, past, ca, Expired, "weir tls cert create"},
		"not yet valid": {ca, future, ca, NotYetValid, "clocks"},
		"other CA":      {other, nodeRequest(), ca, PinMismatch, "weir cap create"},
		"wrong name":    {ca, elsewhere, ca, WrongName, "dialled 127.0.0.1, it names elsewhere.example.org, 192.0.2.7"},
		"no node":       {ca, client, ca, NotANode, "node role"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := listen(t, static(t, issue(t, c.issuer, c.request), nil))
			_, err := dial(addr, PinnedConfig([]Pin{Fingerprint(c.pin.Cert)}, addr, ProtoGRPC))
			wantProblem(t, err, c.want, c.remedy)
		})
	}
	t.Run("expired CA", func(t *testing.T) {
		fresh := *ended.Cert
		fresh.NotAfter = time.Now().Add(time.Hour) // only what Issue compares with
		p := issue(t, &Authority{Cert: &fresh, key: ended.key}, nodeRequest())
		addr, _ := listen(t, static(t, withCA(t, p, ended.Cert), nil))
		_, err := dial(addr, PinnedConfig([]Pin{Fingerprint(ended.Cert)}, addr, ProtoGRPC))
		wantProblem(t, err, ExpiredCA, "weir tls ca create")
	})
}

// A server that has a CA's public key, but not the CA, can put it in a
// certificate of its own making. It must gain nothing by that.
func TestPinnedClientRefusesForgedCA(t *testing.T) {
	ca, impostor := newCA(t), newCA(t)
	forged := *ca.Cert
	forgedCert, err := sign(&forged, impostor.Cert, ca.key.Public(), impostor.key)
	if err != nil {
		t.Fatal(err)
	}
	if Fingerprint(forgedCert) != Fingerprint(ca.Cert) {
		t.Fatal("the forged certificate does not carry the pinned key")
	}
	for name, leaf := range map[string]*Pair{
		"leaf of the impostor": issue(t, impostor, nodeRequest()),
		"leaf of the CA":       issue(t, ca, nodeRequest()),
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := listen(t, static(t, withCA(t, leaf, forgedCert, impostor.Cert), nil))
			_, err := dial(addr, PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, ProtoGRPC))
			wantProblem(t, err, PinMismatch, "impostor")
		})
	}
	t.Run("true CA presented beside the leaf of an impostor", func(t *testing.T) {
		p := withCA(t, issue(t, impostor, nodeRequest()), ca.Cert, impostor.Cert)
		addr, _ := listen(t, static(t, p, nil))
		_, err := dial(addr, PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, ProtoGRPC))
		wantProblem(t, err, OtherCA, "another CA")
	})
	t.Run("a pinned leaf is no CA", func(t *testing.T) {
		p := issue(t, ca, nodeRequest())
		certs, err := parseCerts(p.CertPEM)
		if err != nil {
			t.Fatal(err)
		}
		addr, _ := listen(t, static(t, p, nil))
		_, err = dial(addr, PinnedConfig([]Pin{Fingerprint(certs[0])}, addr, ProtoGRPC))
		wantProblem(t, err, PinMismatch, "pinned")
	})
}

func TestNodeRefusesServer(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	node := newNode(t, ca)
	past := nodeRequest()
	past.NotBefore, past.Valid = time.Now().Add(-2*time.Hour), time.Hour
	client := nodeRequest()
	client.Role = RoleClient
	elsewhere := nodeRequest()
	elsewhere.Hosts = []string{"192.0.2.7"}
	for name, c := range map[string]struct {
		issuer  *Authority
		request Request
		want    Problem
	}{
		"expired":    {ca, past, Expired},
		"other CA":   {other, nodeRequest(), OtherCA},
		"no node":    {ca, client, NotANode},
		"wrong name": {ca, elsewhere, WrongName},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := listen(t, static(t, issue(t, c.issuer, c.request), nil))
			_, err := dial(addr, node.ClientConfig(ProtoGRPC))
			wantProblem(t, err, c.want, "")
		})
	}
}

func TestServerRefusesClientCertificate(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	addr, seen := listen(t, newNode(t, ca).ServerConfig())
	past := nodeRequest()
	past.NotBefore, past.Valid = time.Now().Add(-2*time.Hour), time.Hour
	for name, c := range map[string]struct {
		pair *Pair
		want Problem
	}{
		"expired":  {issue(t, ca, past), RefusedExpired},
		"other CA": {issue(t, other, nodeRequest()), RefusedOtherCA},
	} {
		t.Run(name, func(t *testing.T) {
			config := PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, ProtoGRPC)
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				cert, err := c.pair.TLS()
				return &cert, err
			}
			_, err := dial(addr, config)
			wantProblem(t, err, c.want, "")
		})
	}
	t.Run("the client role is verified and is no node", func(t *testing.T) {
		r := nodeRequest()
		r.Role = RoleClient
		cert, err := issue(t, ca, r).TLS()
		if err != nil {
			t.Fatal(err)
		}
		config := PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, ProtoGRPC)
		config.Certificates = []tls.Certificate{cert}
		if _, err := dial(addr, config); err != nil {
			t.Fatal(err)
		}
		state := <-seen
		if len(state.VerifiedChains) == 0 || IsNode(state.PeerCertificates[0]) || NodeName(state.PeerCertificates[0]) != "" {
			t.Error("a client certificate was not verified, or passes for a node")
		}
	})
}

func TestOldTLSAndForeignProtocolsAreRefused(t *testing.T) {
	ca := newCA(t)
	addr, _ := listen(t, newNode(t, ca).ServerConfig())
	old := PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, ProtoGRPC)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	_, err := dial(addr, old)
	wantProblem(t, err, RefusedProtocol, "TLS 1.3")
	_, err = dial(addr, PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, "smtp"))
	wantProblem(t, err, RefusedProtocol, "protocol")
}

func TestPlaintextPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			conn.Write([]byte("SSH-2.0-something else\r\n"))
			conn.Read(make([]byte, 10))
			conn.Close()
		}
	}()
	_, err = dial(l.Addr().String(), PinnedConfig([]Pin{{}}, l.Addr().String(), ProtoGRPC))
	wantProblem(t, err, NotTLS, "weir node")
	l.Close()
	<-done
}

func TestServerNamesBothHostForms(t *testing.T) {
	ca := newCA(t)
	addr, _ := listen(t, newNode(t, ca).ServerConfig())
	pins := []Pin{Fingerprint(ca.Cert)}
	for _, host := range []string{"n1.example.org:7000", "N1.example.org", "[::1]:7000", "::1", "[::1]"} {
		if _, err := dial(addr, PinnedConfig(pins, host, ProtoGRPC)); err != nil {
			t.Errorf("dial as %s: %v", host, err)
		}
	}
	for _, host := range []string{"n2.example.org:7000", "[::2]:7000", "127.0.0.2", ""} {
		if _, err := dial(addr, PinnedConfig(pins, host, ProtoGRPC)); err == nil {
			t.Errorf("dial as %q passed", host)
		}
	}
}

// withCA replaces what follows the leaf in the chain that a server presents.
func withCA(t *testing.T, p *Pair, chain ...*x509.Certificate) *Pair {
	t.Helper()
	certs, err := parseCerts(p.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	out := &Pair{KeyPEM: p.KeyPEM}
	for _, c := range slices.Concat(certs[:1], chain) {
		out.CertPEM = append(out.CertPEM, certPEM(c)...)
	}
	return out
}

func wantProblem(t *testing.T, err error, want Problem, remedy string) {
	t.Helper()
	if err == nil {
		t.Fatal("the handshake passed")
	}
	e, ok := errors.AsType[*Error](Classify(err))
	if !ok || e.Problem != want {
		t.Fatalf("classified %q as %+v, want problem %d", err, e, want)
	}
	text := Explain(err)
	if text == "" || !strings.Contains(text, remedy) || strings.Contains(text, "%") {
		t.Errorf("explained %q as %q, want it to say %q", err, text, remedy)
	}
}
