package lead

import (
	"fmt"
	"sync"

	"github.com/weirbuild/weir/proto/pb"
)

const (
	// maxOutItems and maxOutBytes are what may wait for one worker; more means
	// that it does not read.
	maxOutItems = 1 << 15
	maxOutBytes = 64 << 20
	// maxBatchBytes closes one message, and maxBatch too.
	maxBatchBytes = 1 << 20
	maxBatch      = 512
)

var errSlow = fmt.Errorf("the worker does not read what it is sent: %w", ErrInterrupted)

// outbox is what waits to be sent to one worker. Many events share a message; of
// the acknowledgements of heartbeats only the latest counts.
type outbox struct {
	wake chan struct{}

	mu     sync.Mutex
	first  *pb.NodeMessage // welcome or probe: sent by itself, before the rest
	beat   *pb.HeartbeatAck
	grants []*pb.Grant
	stops  []*pb.Stop
	acks   []*pb.FinishAck
	pages  []*pb.PageRequest
	update *pb.UpdateOrder
	bytes  int          // of the grants' specs
	next   *pb.Redirect // who leads instead: sent last
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put changes the box under its lock, and wakes the sender.
func (o *outbox) put(change func()) error {
	o.mu.Lock()
	change()
	full := len(o.grants)+len(o.stops)+len(o.acks) > maxOutItems || o.bytes > maxOutBytes
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	if full {
		return errSlow
	}
	return nil
}

func (o *outbox) welcome(w *pb.Welcome) error {
	return o.put(func() { o.first = &pb.NodeMessage{Welcome: w} })
}

func (o *outbox) probe(nonce uint64) error {
	return o.put(func() { o.first = &pb.NodeMessage{Probe: &pb.Probe{Nonce: nonce}} })
}

func (o *outbox) heartbeat(seq uint64) error {
	return o.put(func() { o.beat = &pb.HeartbeatAck{Seq: seq} })
}

func (o *outbox) grant(g *pb.Grant) error {
	return o.put(func() {
		o.grants = append(o.grants, g)
		o.bytes += len(g.Spec)
	})
}

func (o *outbox) page(r *pb.PageRequest) error {
	return o.put(func() { o.pages = append(o.pages, r) })
}

func (o *outbox) order(boot string) error {
	return o.put(func() { o.update = &pb.UpdateOrder{BootId: boot} })
}

func (o *outbox) redirect(to *pb.Redirect) error { return o.put(func() { o.next = to }) }

func (o *outbox) stop(s *pb.Stop) error { return o.put(func() { o.stops = append(o.stops, s) }) }

func (o *outbox) finishAck(a *pb.FinishAck) error {
	return o.put(func() { o.acks = append(o.acks, a) })
}

// take returns the next message, or nil. Grants keep their order.
func (o *outbox) take() *pb.NodeMessage {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m := o.first; m != nil {
		o.first = nil
		return m
	}
	if o.beat == nil && o.update == nil && len(o.grants)+len(o.stops)+len(o.acks)+len(o.pages) == 0 {
		return o.last()
	}
	m := &pb.NodeMessage{HeartbeatAck: o.beat, Update: o.update}
	o.beat, o.update = nil, nil
	m.Stops, o.stops = cut(o.stops, maxBatch)
	m.FinishAcks, o.acks = cut(o.acks, maxBatch)
	m.Pages, o.pages = o.pages, nil
	n, size := 0, 0
	for n < len(o.grants) && n < maxBatch && size < maxBatchBytes {
		size += len(o.grants[n].Spec)
		n++
	}
	m.Grants, o.grants = cut(o.grants, n)
	o.bytes -= size
	return m
}

// last is the message after which nothing comes; nil: it is not time for it.
func (o *outbox) last() *pb.NodeMessage {
	if o.next == nil {
		return nil
	}
	m := &pb.NodeMessage{Redirect: o.next}
	o.next = nil
	return m
}

// cut takes at most n items from the front. The message keeps their memory.
func cut[T any](items []T, n int) (front, rest []T) {
	if len(items) <= n {
		return items, nil
	}
	return items[:n:n], items[n:]
}
