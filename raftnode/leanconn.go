package raftnode

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// leanConn is a TCP connection that reads and writes without telling Go's
// scheduler that a system call begins, which is only of use to calls that may
// block: on a socket of Go's they never do. Whenever an idle process makes such a
// call, the runtime's monitor thread wakes up and looks around for a while. For a
// leader that has nothing to do but heartbeats, that was 40 % of its processor time.
type leanConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// lean returns the connection as a lean one, if it is TCP itself.
func lean(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	return &leanConn{tcp, raw}
}

// Read implements net.Conn.
func (c *leanConn) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	var errno syscall.Errno
	err = c.raw.Read(func(fd uintptr) (done bool) {
		n, errno = call(syscall.SYS_READ, fd, p)
		return errno != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, c.failed("read", errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *leanConn) Write(p []byte) (written int, err error) {
	for written < len(p) {
		var n int
		var errno syscall.Errno
		err = c.raw.Write(func(fd uintptr) (done bool) {
			n, errno = call(syscall.SYS_WRITE, fd, p[written:])
			return errno != syscall.EAGAIN
		})
		if err == nil && errno != 0 {
			err = c.failed("write", errno)
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// call repeats a system call that a signal interrupts.
func call(trap, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func (c *leanConn) failed(what string, errno syscall.Errno) error {
	return &net.OpError{Op: what, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(what, errno)}
}
