package clustertest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Outside is the party that clients and workers are to the network.
const Outside = "outside"

// Network is what connects the parties: the nodes, by name, and Outside. Where
// it is cut, packets vanish as behind a dead switch: connections stay, nothing
// passes, and what waits goes on when the cut heals.
type Network struct {
	mu      sync.Mutex
	cut     map[direction]bool
	changed chan struct{}     // closed, and replaced, with every change
	proxies map[string]*proxy // by the address that they listen on
}

type direction struct{ from, to string }

// NewNetwork returns a network without cuts.
func NewNetwork() *Network {
	return &Network{cut: map[direction]bool{}, changed: make(chan struct{}), proxies: map[string]*proxy{}}
}

// lookUp finds the proxy that listens on an address.
func (n *Network) lookUp(address string) (*proxy, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.proxies[address]
	return p, ok
}

// Cut stops packets from one party to another; those of the other way pass.
func (n *Network) Cut(from, to string) { n.set(true, direction{from, to}) }

// Split stops packets between every party of a and every one of b.
func (n *Network) Split(a, b []string) { n.set(true, between(a, b)...) }

// Join lets packets pass again between every party of a and every one of b.
func (n *Network) Join(a, b []string) { n.set(false, between(a, b)...) }

// Heal lets everything pass again.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.change()
}

func between(a, b []string) []direction {
	var all []direction
	for _, x := range a {
		for _, y := range b {
			all = append(all, direction{x, y}, direction{y, x})
		}
	}
	return all
}

func (n *Network) set(cut bool, all ...direction) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range all {
		n.cut[d] = cut
	}
	n.change()
}

func (n *Network) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// blocked says whether packets vanish, and when to ask again.
func (n *Network) blocked(from, to string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[direction{from, to}], n.changed
}

// await returns when packets pass, or with the cause why it does not matter.
func (n *Network) await(ctx context.Context, from, to string) error {
	for {
		blocked, changed := n.blocked(from, to)
		if !blocked {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// dial opens a connection of one party to another.
func (n *Network) dial(ctx context.Context, from, to, address string) (net.Conn, error) {
	for _, d := range between([]string{from}, []string{to}) {
		if err := n.await(ctx, d.from, d.to); err != nil {
			return nil, err
		}
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, net: n, from: from, to: to}
	c.ctx, c.close = context.WithCancelCause(context.Background())
	return c, nil
}

// conn is the dialling end of a connection that the network may cut.
type conn struct {
	net.Conn
	net      *Network
	from, to string
	ctx      context.Context
	close    context.CancelCauseFunc

	mu    sync.Mutex
	read  time.Time // deadlines
	write time.Time
}

// Read returns what has come once packets pass from the other end.
func (c *conn) Read(p []byte) (int, error) {
	read, err := c.Conn.Read(p)
	if e := c.pass(c.to, c.from, &c.read); e != nil {
		return 0, e
	}
	return read, err
}

// Write sends once packets pass to the other end.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.pass(c.from, c.to, &c.write); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *conn) pass(from, to string, deadline *time.Time) error {
	c.mu.Lock()
	until := *deadline
	c.mu.Unlock()
	ctx := c.ctx
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, until, os.ErrDeadlineExceeded)
		defer cancel()
	}
	return c.net.await(ctx, from, to)
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.read = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.write = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) Close() error {
	c.close(net.ErrClosed)
	return c.Conn.Close()
}
