package supervise

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What travels over the control socket. For each command: one start down, with
// its files, then at most a few stops, and one report up. Gob keeps strings that
// are not UTF-8.
type order struct {
	Start *start
	Stop  *stop
	files []int // came with a start: its output, then its input and its result if it has them
}

type start struct {
	Argv   []string
	Env    []string
	Dir    string
	User   *syscall.Credential
	Stdin  bool
	Result bool
	Hide   []string
	Keep   []string
	Probe  bool
}

type stop struct {
	Grace time.Duration // 0: kill now
}

type report struct {
	Broken string      // the supervisor could not do its part
	Start  *StartError // the command could not be started
	Exit   Exit
}

// fdControl is the supervisor's end of the control socket.
const fdControl = 3

// orderSender sends orders, from several goroutines.
type orderSender struct {
	mu   sync.Mutex
	conn *net.UnixConn
	buf  bytes.Buffer
	enc  *gob.Encoder
}

func newOrderSender(conn *net.UnixConn) *orderSender {
	s := &orderSender{conn: conn}
	s.enc = gob.NewEncoder(&s.buf)
	return s
}

// send sends one order; files ride on its first byte.
func (s *orderSender) send(o order, files ...*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
	if err := s.enc.Encode(o); err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		if _, _, err := s.conn.WriteMsgUnix(s.buf.Next(1), unix.UnixRights(fds...), nil); err != nil {
			return err
		}
	}
	_, err := s.conn.Write(s.buf.Bytes())
	return err
}

// orderReceiver is the supervisor's end: a stream of orders and files.
type orderReceiver struct {
	dec   *gob.Decoder
	files []int
}

func newOrderReceiver() *orderReceiver {
	r := &orderReceiver{}
	r.dec = gob.NewDecoder(r)
	return r
}

// next blocks for the next order. Any error means that the caller is gone.
func (r *orderReceiver) next() (o order, err error) {
	if err := r.dec.Decode(&o); err != nil {
		return order{}, err
	}
	if o.Start != nil {
		o.files, r.files = r.files, nil
	}
	return o, nil
}

func (r *orderReceiver) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(3*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(fdControl, p, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		case oobn > 0:
			return n, r.keep(oob[:oobn])
		}
		return n, nil
	}
}

func (r *orderReceiver) keep(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		r.files = append(r.files, fds...)
	}
	return nil
}
