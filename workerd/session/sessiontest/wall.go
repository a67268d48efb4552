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

type walled struct {
	net.Listener
	wall *wall
}

func (l walled) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
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
