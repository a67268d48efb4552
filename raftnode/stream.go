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
	"github.com/hashicorp/raft"

	"github.com/weirbuild/weir/proto/mtls"
)

// stream opens and accepts raft/1 connections, and lets none through that is
// not of this cluster, or means another node.
type stream struct {
	self     Peer
	listener net.Listener
	dialTLS  func(protocol string) *tls.Config
	dial     DialFunc
	patience time.Duration
	log      hclog.Logger
	audit    func(remote, what string)
	metrics  *metrics
	profiles *profiles
	node     host

	conns chan *trackedConn // for Raft
	life  context.Context   // of every connection
	end   context.CancelFunc
}

// host answers connections for what the stream itself does not know.
type host interface {
	cluster() ClusterID
	raftRuns() bool
	claim(ClusterID) error
	invite(ClusterID) error
	probe(context.Context) error
}

// preambleTime is how long either side of a new connection may take to say who
// it is.
const preambleTime = 5 * time.Second

// run accepts connections until the stream is closed.
func (s *stream) run() {
	defer context.AfterFunc(s.life, func() { s.listener.Close() })()
	var greetings sync.WaitGroup
	defer greetings.Wait()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		greetings.Go(func() {
			tracked := s.track(conn)
			if !s.receive(tracked) {
				tracked.Close()
			}
		})
	}
}

// receive answers one connection; true: Raft has it now.
func (s *stream) receive(conn *trackedConn) bool {
	_ = conn.SetDeadline(time.Now().Add(preambleTime)) // a dead connection fails to read
	var p preamble
	if err := readFrame(conn, &p); err != nil {
		s.log.Debug("raft connection without a preamble", "remote", conn.RemoteAddr(), "error", err)
		return false
	}
	err := s.admit(p, conn)
	reply := preambleReply{Cluster: s.node.cluster(), ID: s.self.ID, Timings: s.profiles.own}
	if err != nil {
		reply.Refused = err.Error()
		s.log.Log(p.severity(), "raft connection refused", "remote", conn.RemoteAddr(), "node", p.Name, "node_id", p.ID, "error", err)
	} else {
		s.profiles.note(p.ID, p.Name, p.Timings)
	}
	if writeFrame(conn, reply) != nil || err != nil || p.For != forRaft {
		return false
	}
	_ = conn.SetDeadline(time.Time{}) // a dead connection is found dead by Raft
	select {
	case s.conns <- conn:
		return true
	case <-s.life.Done():
		return false
	}
}

func (s *stream) admit(p preamble, conn *trackedConn) error {
	if err := s.checkName(p, conn); err != nil {
		s.refused("name", conn, err)
		return err
	}
	own := s.node.cluster()
	switch {
	case p.To != s.self.ID:
		s.metrics.refused.WithLabelValues("identity").Inc()
		return fmt.Errorf("this is node %s, not %s", s.self.ID, p.To)
	case p.For == forClaim:
		return s.node.claim(p.Cluster)
	case own == "":
		return s.node.invite(p.Cluster)
	case p.Cluster != own:
		err := fmt.Errorf("%w: this node belongs to cluster %s, the caller to %s", ErrWrongCluster, own, p.Cluster)
		s.refused("cluster", conn, err)
		return err
	case p.For == forProbe:
		return s.node.probe(s.life)
	case p.For != forRaft:
		return fmt.Errorf("unknown purpose %q: upgrade this node", p.For)
	case !s.node.raftRuns():
		return errors.New("this node is still starting")
	}
	return nil
}

func (s *stream) refused(why string, conn net.Conn, err error) {
	s.metrics.refused.WithLabelValues(why).Inc()
	s.audit(conn.RemoteAddr().String(), "raft connection refused: "+err.Error())
}

// trackedConn is closed with the stream: Raft itself would wait for the answers
// of others, and leave open what they opened.
type trackedConn struct {
	net.Conn
	untrack func() bool
}

func (s *stream) track(conn net.Conn) *trackedConn {
	return &trackedConn{Conn: conn, untrack: context.AfterFunc(s.life, func() { conn.Close() })}
}

func (c *trackedConn) Close() error {
	c.untrack()
	return c.Conn.Close()
}

// checkName compares the name with the certificate's.
func (s *stream) checkName(p preamble, conn *trackedConn) error {
	c, ok := conn.Conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok || len(c.ConnectionState().PeerCertificates) == 0 {
		return errNotANode
	}
	if name := mtls.NodeName(c.ConnectionState().PeerCertificates[0]); name != p.Name {
		return fmt.Errorf("the certificate is for node %q, the caller says that it is %q", name, p.Name)
	}
	return nil
}

// open dials a peer and returns when it has agreed to what is wanted of it.
func (s *stream) open(ctx context.Context, to Peer, want purpose, cluster ClusterID) (net.Conn, error) {
	raw, err := s.dial(ctx, "tcp", to.Address)
	if err != nil {
		return nil, err
	}
	config := s.dialTLS(mtls.ProtoRaft)
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(to.Address)
	}
	conn := tls.Client(lean(raw), config)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	err = conn.HandshakeContext(ctx)
	if err == nil {
		var reply preambleReply
		reply, err = greet(conn, preamble{For: want, Cluster: cluster, ID: s.self.ID, Name: s.self.Name, To: to.ID, Timings: s.profiles.own}, to)
		if err == nil {
			s.profiles.note(to.ID, to.Name, reply.Timings)
		}
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// ask has a peer do something for which the answer is enough.
func (s *stream) ask(ctx context.Context, to Peer, want purpose, cluster ClusterID) error {
	conn, err := s.open(ctx, to, want, cluster)
	if err != nil {
		return err
	}
	return conn.Close()
}

var _ raft.StreamLayer = (*stream)(nil)

// Dial opens a connection for Raft's messages.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	to, err := parsePeer(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.life, min(timeout, s.patience))
	defer cancel()
	conn, err := s.open(ctx, to, forRaft, s.node.cluster())
	if err != nil {
		return nil, err
	}
	return s.track(conn), nil
}

func (s *stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.life.Done():
		return nil, net.ErrClosed
	}
}

func (s *stream) Close() error {
	s.end()
	return nil
}

// Addr is this node as the Raft configuration writes it.
func (s *stream) Addr() net.Addr { return peerAddr(s.self.raftAddress()) }

type peerAddr string

func (peerAddr) Network() string  { return "weir" }
func (a peerAddr) String() string { return string(a) }
