package raftnode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/mtls"
)

const (
	handshakeTime  = 5 * time.Second
	maxHandshakes  = 1024 // at the same time
	acceptPatience = 5 * time.Second
)

// Mux serves gRPC and Raft on one TLS port: after one handshake the protocol
// that the client named (ALPN) decides. It promises that a silent or hostile
// connection delays no other, and that a raft/1 connection comes with a
// certificate that has the node role; it refuses a client that names neither
// protocol. Who may call what over gRPC is not its concern.
type Mux struct {
	tcp    net.Listener
	config *tls.Config
	log    hclog.Logger
	audit  func(remote, what string)

	grpc, raft muxListener
	stop       sync.Once
}

// NewMux takes over the listener, which carries TCP. The configuration is that
// of a server which offers both protocols and verifies a client's certificate
// if there is one; audit is told of refused connections.
func NewMux(tcp net.Listener, config *tls.Config, log hclog.Logger, audit func(remote, what string)) *Mux {
	if audit == nil {
		audit = func(string, string) {}
	}
	m := &Mux{tcp: tcp, config: demandNodeForRaft(config), log: log, audit: audit}
	for _, l := range []*muxListener{&m.grpc, &m.raft} {
		l.conns, l.done, l.addr = make(chan net.Conn), make(chan struct{}), tcp.Addr()
	}
	return m
}

// GRPC returns the listener of h2 connections: give it to grpc.Server.Serve,
// with ServerCredentials.
func (m *Mux) GRPC() net.Listener { return &m.grpc }

// Raft returns the listener of raft/1 connections.
func (m *Mux) Raft() net.Listener { return &m.raft }

// Run accepts connections until ctx ends, then closes the listener and waits
// for the handshakes.
func (m *Mux) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, m.close)()
	defer m.close()
	var handshakes sync.WaitGroup
	defer handshakes.Wait()
	slots := make(chan struct{}, maxHandshakes)
	for failures := 0; ; {
		conn, err := m.tcp.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept connections on %s: %w", m.tcp.Addr(), err)
		case err != nil: // out of file descriptors, most likely
			failures++
			m.log.Warn("connection not accepted", "error", err)
			time.Sleep(backoff(failures))
			continue
		}
		failures = 0
		slots <- struct{}{}
		handshakes.Go(func() {
			conn, listener := m.handshake(ctx, conn)
			<-slots
			if listener != nil {
				listener.hand(conn)
			}
		})
	}
}

func (m *Mux) close() {
	m.stop.Do(func() {
		m.tcp.Close()
		m.grpc.Close()
		m.raft.Close()
	})
}

// handshake returns the connection and where it goes; nil: it was refused.
func (m *Mux) handshake(ctx context.Context, raw net.Conn) (net.Conn, *muxListener) {
	conn := tls.Server(raw, m.config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	err := conn.HandshakeContext(ctx)
	protocol := conn.ConnectionState().NegotiatedProtocol
	switch {
	case err == nil && protocol == mtls.ProtoGRPC:
		return conn, &m.grpc
	case err == nil && protocol == mtls.ProtoRaft:
		return conn, &m.raft
	case err == nil:
		err = errors.New("it names neither gRPC (h2) nor Raft (raft/1)")
	}
	raw.Close()
	switch problem, ok := errors.AsType[*mtls.Error](mtls.Classify(err)); {
	case errors.Is(err, errNotANode):
		m.log.Debug("raft connection refused", "remote", raw.RemoteAddr(), "error", err)
		m.audit(raw.RemoteAddr().String(), err.Error())
	case ok && distrust(problem.Problem):
		m.audit(raw.RemoteAddr().String(), distrusted)
	case ok && aboutCertificates(problem.Problem):
		m.audit(raw.RemoteAddr().String(), mtls.Explain(problem))
	default:
		m.log.Debug("TLS handshake refused", "remote", raw.RemoteAddr(), "error", err)
	}
	return nil, nil
}

// distrusted is what a caller means that refuses this node's certificate.
const distrusted = "the caller does not trust this node's certificate: it has a capability, or a ca.pem, of another cluster or of a CA that was replaced; its own error says which"

func distrust(p mtls.Problem) bool {
	return p == mtls.RefusedCertificate || p == mtls.RefusedOtherCA
}

// aboutCertificates tells a caller with a certificate that is no good, or one
// that takes this node's for no good, from the noise of an open port.
func aboutCertificates(p mtls.Problem) bool {
	return p != mtls.NotTLS && p != mtls.RefusedProtocol
}

var errNotANode = errors.New("the Raft protocol needs a certificate of this cluster's CA with the node role: make one with `weir tls cert create`")

// demandNodeForRaft makes the handshake itself fail, with an alert, for whoever
// speaks Raft without being a node.
func demandNodeForRaft(config *tls.Config) *tls.Config {
	config = config.Clone()
	inner := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := config
		if inner != nil {
			own, err := inner(hello)
			if err != nil {
				return nil, err
			}
			if own != nil {
				c = own
			}
		}
		c = c.Clone()
		also := c.VerifyConnection
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if state.NegotiatedProtocol == mtls.ProtoRaft && (len(state.VerifiedChains) == 0 || !mtls.IsNode(state.PeerCertificates[0])) {
				return errNotANode
			}
			if also != nil {
				return also(state)
			}
			return nil
		}
		return c, nil
	}
	return config
}

// muxListener is one side of a mux.
type muxListener struct {
	conns chan net.Conn
	addr  net.Addr
	done  chan struct{}
	stop  sync.Once
}

// hand gives the connection to whoever accepts; nobody does for long, and it is
// closed.
func (l *muxListener) hand(conn net.Conn) {
	timeout := time.NewTimer(acceptPatience)
	defer timeout.Stop()
	select {
	case l.conns <- conn:
	case <-l.done:
		conn.Close()
	case <-timeout.C:
		conn.Close()
	}
}

func (l *muxListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *muxListener) Addr() net.Addr { return l.addr }

// Close ends this side of the mux. The port stays the mux's.
func (l *muxListener) Close() error {
	l.stop.Do(func() { close(l.done) })
	return nil
}
