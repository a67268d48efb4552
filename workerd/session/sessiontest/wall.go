package sessiontest

import (
	"net"
	"sync"
)

// wall holds traffic back while it is up.
type wall struct {
	mu   sync.Mutex
	down chan struct{} // closed when the wall goes down; nil when it is down
}

func (w *wall) set(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case up && w.down == nil:
		w.down = make(chan struct{})
	case !up && w.down != nil:
		close(w.down)
		w.down = nil
	}
}

// pass waits while the wall is up, or until closed.
func (w *wall) pass(closed <-chan struct{}) {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	if down == nil {
		return
	}
	select {
	case <-down:
	case <-closed:
	}
}

// walled is a listener behind the wall, which knows its connections: gRPC waits
// minutes for one whose handshake never ends.
type walled struct {
	net.Listener
	wall *wall

	mu    sync.Mutex
	conns []net.Conn
}

// kill breaks every connection.
func (l *walled) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close() // most are closed already
	}
	l.conns = nil
}

func (l *walled) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return &walledConn{Conn: c, wall: l.wall, closed: make(chan struct{})}, nil
}

type walledConn struct {
	net.Conn
	wall   *wall
	once   sync.Once
	closed chan struct{}
}

func (c *walledConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wall.pass(c.closed)
	return n, err
}

func (c *walledConn) Write(p []byte) (int, error) {
	c.wall.pass(c.closed)
	return c.Conn.Write(p)
}

func (c *walledConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
