package supervise

import (
	"encoding/gob"
	"io"
	"sync"
	"syscall"
	"time"
)

// What travels over the control socket: one start, then at most a few stops to
// the supervisor, and one report back. Gob keeps strings that are not UTF-8.
type order struct {
	Start *start
	Stop  *stop
}

type start struct {
	Mode  Mode
	Argv  []string
	Env   []string
	Dir   string
	User  *syscall.Credential
	Stdin bool // file descriptor fdStdin is the command's standard input
	Hide  []string
	Keep  string
	Probe bool
}

type stop struct {
	Grace time.Duration // 0: kill now
}

type report struct {
	Broken string      // the supervisor could not do its part
	Start  *StartError // the command could not be started
	Exit   Exit
}

// The supervisor's file descriptors; 0, 1 and 2 are its own.
const (
	fdControl = 3
	fdOutput  = 4
	fdStdin   = 5
)

// orders sends orders from several goroutines.
type orders struct {
	mu  sync.Mutex
	enc *gob.Encoder
}

func newOrders(w io.Writer) *orders { return &orders{enc: gob.NewEncoder(w)} }

func (o *orders) send(v order) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enc.Encode(v)
}
