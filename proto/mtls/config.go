package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"
)

// The application protocols that share one port.
const (
	ProtoGRPC = "h2"
	ProtoRaft = "raft/1"
)

// ServerConfig is for the one port of a node. It offers gRPC and Raft by ALPN
// and verifies a client certificate when there is one: what may be done without
// one, and who needs [IsNode], is for the protocol behind it to say.
//
// Every handshake is a full one, so that what was true of a certificate
// yesterday is never taken from a session ticket.
func (n *Node) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{ProtoGRPC, ProtoRaft},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := n.material()
			return &tls.Config{
				MinVersion:             tls.VersionTLS13,
				NextProtos:             []string{ProtoGRPC, ProtoRaft},
				Certificates:           []tls.Certificate{m.cert},
				ClientAuth:             tls.VerifyClientCertIfGiven,
				ClientCAs:              m.pool,
				SessionTicketsDisabled: true,
			}, nil
		},
	}
}

// ClientConfig is for a node that dials another node: it presents this node's
// certificate and demands a node's certificate for the dialled host. Take a new
// one for each dial (it is cheap), so that a changed CA file counts. The host is
// config.ServerName, as usual: tls.Dialer and gRPC set it.
func (n *Node) ClientConfig(protocol string) *tls.Config {
	m := n.material()
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		RootCAs:    m.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			m := n.material()
			return &m.cert, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			return demandNode(state.PeerCertificates[0])
		},
	}
}

// PinnedConfig is for workers and clients, which hold no certificate and know
// an authority only by its pin. The server must present, in its chain, an
// authority with one of the pins; its own certificate must be signed by it, be
// valid now, be a node's, and name the host of addr (host or host:port).
func PinnedConfig(pins []Pin, addr, protocol string) *tls.Config {
	host := hostOf(addr)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		ServerName: host,
		// The standard check needs the CA's certificate beforehand. All of it is
		// done by VerifyConnection, with the CA that the server presents.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyPinned(state.PeerCertificates, pins, host)
		},
	}
}

func verifyPinned(chain []*x509.Certificate, pins []Pin, host string) error {
	if len(chain) == 0 {
		return refuse(PinMismatch, nil, nil)
	}
	leaf := chain[0]
	if host == "" { // x509 would take it as "any host"
		return refuse(WrongName, leaf, nil)
	}
	ca, ok := pinned(chain[1:], pins)
	if !ok {
		return refuse(PinMismatch, leaf, nil)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, DNSName: host, CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fromX509(err, leaf)
	}
	return demandNode(leaf)
}

func demandNode(cert *x509.Certificate) error {
	if !IsNode(cert) {
		return refuse(NotANode, cert, nil)
	}
	return nil
}

// hostOf returns the host of host, host:port, [v6] or [v6]:port.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	if len(addr) > 2 && addr[0] == '[' && addr[len(addr)-1] == ']' {
		return addr[1 : len(addr)-1]
	}
	return addr
}
