package raftnode

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// testNet is the network between the nodes of a test. A node that is cut off
// neither reaches the others nor is reached: packets vanish, as they do behind a
// dead switch, and what waits goes on when it heals.
type testNet struct {
	mu     sync.Mutex
	broken map[string]bool
	change chan struct{} // closed, and replaced, when broken changes
}

func newTestNet() *testNet {
	return &testNet{broken: map[string]bool{}, change: make(chan struct{})}
}

func (n *testNet) set(addr string, broken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken[addr] = broken
	close(n.change)
	n.change = make(chan struct{})
}

func (n *testNet) cut(addr string)  { n.set(addr, true) }
func (n *testNet) heal(addr string) { n.set(addr, false) }

// blocked says whether packets between the two vanish, and when to ask again.
func (n *testNet) blocked(a, b string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.broken[a] || n.broken[b], n.change
}

// dialer opens connections of the node at an address.
func (n *testNet) dialer(from string) DialFunc {
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		for {
			blocked, change := n.blocked(from, to)
			if !blocked {
				break
			}
			select {
			case <-change:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, to)
		if err != nil {
			return nil, err
		}
		return &testConn{Conn: conn, net: n, from: from, to: to, closed: make(chan struct{})}, nil
	}
}

// testConn stands still while its ends are cut off from each other.
type testConn struct {
	net.Conn
	net      *testNet
	from, to string
	stop     sync.Once
	closed   chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

// pass returns when packets flow.
func (c *testConn) pass() error {
	for {
		blocked, change := c.net.blocked(c.from, c.to)
		if !blocked {
			return nil
		}
		c.mu.Lock()
		deadline := c.deadline
		c.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			late = time.After(time.Until(deadline))
		}
		select {
		case <-change:
		case <-late:
			return os.ErrDeadlineExceeded
		case <-c.closed:
			return net.ErrClosed
		}
	}
}

func (c *testConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if wait := c.pass(); wait != nil {
		return 0, wait
	}
	return n, err
}

func (c *testConn) Write(p []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *testConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *testConn) Close() error {
	c.stop.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
