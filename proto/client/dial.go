package client

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// The flow-control windows of every connection of the cluster, in bytes: what one
// stream, and all streams together, may send before the other side has read it.
// gRPC's own begin at 64 KiB and grow only while the round trips are short, which
// holds up logs on a busy machine or between sites.
const (
	StreamWindow = 2 << 20
	ConnWindow   = 8 << 20
)

// lastError remembers why an address could not be connected to: gRPC itself
// tells it only inside a longer sentence.
type lastError struct {
	mu  sync.Mutex
	err error
}

func (l *lastError) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// dial is the TCP half of a connection.
func (l *lastError) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		cause := err
		if op, ok := errors.AsType[*net.OpError](err); ok {
			cause = op.Err // whoever tells it names the address too
		}
		l.set(cause)
	}
	return conn, err
}

// remember is the TLS half.
func remember(inner credentials.TransportCredentials, l *lastError) credentials.TransportCredentials {
	return remembering{inner, l}
}

type remembering struct {
	credentials.TransportCredentials
	last *lastError
}

func (r remembering) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := r.TransportCredentials.ClientHandshake(ctx, authority, raw)
	r.last.set(err)
	return conn, info, err
}

func (r remembering) Clone() credentials.TransportCredentials {
	return remembering{r.TransportCredentials.Clone(), r.last}
}
