package session

import (
	"sync"

	"github.com/weirbuild/weir/proto/pb"
)

// maxFinished is how many results go into one message: with outcomes of their
// greatest size it stays well below the nodes' limit.
const maxFinished = 256

// outbox collects what is to be said until the stream can take it, so that many
// events travel in one message. While closed it keeps nothing: at the next
// welcome the host's whole state is sent anyway.
type outbox struct {
	wake chan struct{} // buffer 1

	mu       sync.Mutex
	open     bool
	finished []*pb.FinishedAttempt
	started  []uint64
	probes   []uint64
	pages    []*pb.Page
	status   bool
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// begin opens it, with nothing but the status, which may have changed since the
// hello.
func (o *outbox) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finished, o.started, o.probes, o.pages, o.status, o.open = nil, nil, nil, nil, true, true
}

func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = false
}

// put lets add change the box, and wakes the sender.
func (o *outbox) put(add func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return
	}
	add()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take moves what fits in one message out of the box; nil when there is nothing.
func (o *outbox) take(host Host) *pb.WorkerMessage {
	o.mu.Lock()
	m := &pb.WorkerMessage{Started: o.started}
	n := min(len(o.finished), maxFinished)
	m.Finished, o.finished = o.finished[:n:n], o.finished[n:]
	if len(o.finished) == 0 {
		o.finished = nil
	}
	if len(o.probes) > 0 {
		m.ProbeReply = &pb.ProbeReply{Nonce: o.probes[0]}
		o.probes = o.probes[1:]
	}
	if len(o.pages) > 0 { // one in a message: they are large
		m.Pages, o.pages = o.pages[:1:1], o.pages[1:]
	}
	status := o.status
	o.started, o.status = nil, false
	o.mu.Unlock()
	if status {
		m.Status = host.Status()
	}
	if n == 0 && m.Started == nil && m.ProbeReply == nil && m.Pages == nil && !status {
		return nil
	}
	return m
}
