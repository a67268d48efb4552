package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
)

const (
	// deaf is how long the other side may leave what we sent unacknowledged, by
	// TCP's own account, before a connection counts as dead.
	deaf = 20 * time.Second
	// maxMessage bounds a message from a node, in bytes: many grants with their
	// specs may come in one.
	maxMessage = 16 << 20
)

// conn is one TCP connection to a node and the gRPC channel over it. It does not
// reconnect: the session decides when and where to dial next, and hears exactly
// why a dial failed.
type conn struct {
	*grpc.ClientConn
	raw *tls.Conn
}

// dialError says that a node could not be reached.
type dialError struct {
	addr     string
	timedOut bool
	err      error
}

func (e *dialError) Error() string { return fmt.Sprintf("connect to %s: %v", e.addr, e.err) }
func (e *dialError) Unwrap() error { return e.err }

// dial connects to addr and checks that it is a node of the pinned cluster.
func dial(ctx context.Context, addr string, pins []mtls.Pin, agent string, patience time.Duration) (*conn, error) {
	raw, err := dialTLS(ctx, addr, pins, patience)
	if isTimeout(err) {
		return nil, &dialError{addr: addr, timedOut: true, err: fmt.Errorf("no connection within %v", patience)}
	}
	if err != nil {
		return nil, &dialError{addr: addr, err: mtls.Classify(err)}
	}
	var used atomic.Bool
	channel, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(established{}),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errors.New("the connection was lost")
			}
			return raw, nil
		}),
		grpc.WithUserAgent(agent),
		grpc.WithInitialWindowSize(client.StreamWindow), grpc.WithInitialConnWindowSize(client.ConnWindow),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, &dialError{addr: addr, err: errors.Join(err, raw.Close())}
	}
	return &conn{channel, raw}, nil
}

func dialTLS(ctx context.Context, addr string, pins []mtls.Pin, patience time.Duration) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deaf / 2, Interval: deaf / 4, Count: 2}}
	tcp, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := setUserTimeout(tcp); err != nil {
		_ = tcp.Close() // err says what matters
		return nil, err
	}
	conn := tls.Client(tcp, mtls.PinnedConfig(pins, addr, mtls.ProtoGRPC))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = tcp.Close() // err says what matters
		return nil, err
	}
	return conn, nil
}

// setUserTimeout makes the kernel give up a connection whose other end is gone.
func setUserTimeout(c net.Conn) error {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var option error
	err = raw.Control(func(fd uintptr) {
		option = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deaf.Milliseconds()))
	})
	return errors.Join(err, option)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// Close ends the connection at once, without a farewell that a dead peer would
// make last for seconds. Nothing can be done about an error of either.
func (c *conn) Close() {
	_ = c.raw.NetConn().Close()
	_ = c.ClientConn.Close()
}

// established are the credentials of a connection whose handshake is done.
type established struct{}

func (established) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := raw.(*tls.Conn)
	if !ok || !conn.ConnectionState().HandshakeComplete {
		return nil, nil, errors.New("use connection: it is not an established TLS connection")
	}
	return conn, credentials.TLSInfo{
		State:          conn.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (established) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("accept connection: these credentials only dial")
}

func (established) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (e established) Clone() credentials.TransportCredentials { return e }

func (established) OverrideServerName(string) error { return nil }
