package logship

import (
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/spool"
)

// shipment is what one stream knows of the spool's logs.
type shipment struct {
	spool      *spool.Spool
	logger     hclog.Logger
	metrics    *metrics
	redirected func(*pb.Redirect)
	wake       chan struct{} // acks made room or gave a position
	answered   bool          // written by receive, read after it has ended

	mu       sync.Mutex
	parcels  map[uint64]*parcel
	offers   []*parcel // not offered yet
	ready    []*parcel // with something to send, in turn
	inFlight int64     // bytes sent and not acknowledged
}

// parcel is one log on its way.
type parcel struct {
	log     *spool.Log
	offered bool
	placed  bool  // we know from where to send
	acked   int64 // stored by the leader
	next    int64 // sent
	endSent bool
	queued  bool // in ready
}

func newShipment(cfg Config, m *metrics) *shipment {
	return &shipment{
		spool: cfg.Spool, logger: cfg.Logger, metrics: m, redirected: cfg.Redirected,
		wake:    make(chan struct{}, 1),
		parcels: make(map[uint64]*parcel),
	}
}

// begin takes in what the spool holds: every log is offered, and sent once the
// leader has said what it has of it.
func (s *shipment) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spool.TakeChanged() // they are all pending
	for _, l := range s.spool.Pending() {
		s.add(l, false)
	}
}

func (s *shipment) add(l *spool.Log, placed bool) *parcel {
	p := &parcel{log: l, placed: placed}
	s.parcels[l.ID().Lease] = p
	s.offers = append(s.offers, p)
	return p
}

// fill makes the next message; nil when there is nothing to send. full says that
// more is waiting.
func (s *shipment) fill() (up *pb.LogUp, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.spool.TakeChanged() {
		s.changed(l)
	}
	up = new(pb.LogUp)
	s.offer(up)
	bytes := s.chunks(up)
	if len(up.Offers) == 0 && len(up.Chunks) == 0 {
		return nil, false
	}
	s.metrics.sent.Add(float64(bytes))
	return up, bytes >= messageBytes || len(up.Offers)+len(up.Chunks) >= messageParts
}

// changed queues a log that grew or ended. A log that is new to the running
// stream cannot be known to any node: it goes from its beginning, at once.
func (s *shipment) changed(l *spool.Log) {
	p := s.parcels[l.ID().Lease]
	if p == nil || p.log != l {
		if current, ok := s.spool.Get(l.ID().Lease); !ok || current != l {
			return // dropped meanwhile
		}
		p = s.add(l, true)
	}
	s.enqueue(p)
}

func (s *shipment) offer(up *pb.LogUp) {
	n := min(len(s.offers), messageParts)
	for _, p := range s.offers[:n] {
		id := p.log.ID()
		up.Offers = append(up.Offers, &pb.LogOffer{Lease: id.Lease, Job: id.Job, Attempt: id.Attempt})
		p.offered = true
		s.enqueue(p)
	}
	s.offers = s.offers[n:]
	if len(s.offers) == 0 {
		s.offers = nil
	} else {
		s.poke()
	}
}

// chunks adds a chunk of each ready log in turn until the message or the window
// is full.
func (s *shipment) chunks(up *pb.LogUp) (bytes int64) {
	for len(s.ready) > 0 && bytes < messageBytes && len(up.Chunks) < messageParts && s.inFlight < WindowBytes {
		p := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		p.queued = false
		if !p.placed {
			continue // refused meanwhile
		}
		c := s.chunk(p)
		if c == nil {
			continue
		}
		up.Chunks = append(up.Chunks, c)
		bytes += int64(len(c.Data))
		s.enqueue(p)
	}
	return bytes
}

// chunk cuts the next piece of a log and counts it as sent.
func (s *shipment) chunk(p *parcel) *pb.LogChunk {
	end, ended := p.log.End() // before the size: a finished log does not grow
	n := min(p.log.Size()-p.next, ChunkBytes)
	c := &pb.LogChunk{Lease: p.log.ID().Lease, Offset: p.next}
	if n > 0 {
		c.Data = make([]byte, n)
		got, err := p.log.ReadAt(c.Data, p.next)
		if err != nil && !errors.Is(err, io.EOF) {
			s.logger.Error("spooled log cannot be read and is not sent", "error", err)
			return nil
		}
		c.Data = c.Data[:got]
	}
	p.next += int64(len(c.Data))
	s.inFlight += int64(len(c.Data))
	if ended && p.next >= end.Bytes && !p.endSent {
		c.End = &pb.LogEnd{Bytes: end.Bytes, Sha256: end.SHA256[:]}
		p.endSent = true
	}
	if len(c.Data) == 0 && c.End == nil {
		return nil
	}
	return c
}

// enqueue gives the log a turn if it has something to send and may.
func (s *shipment) enqueue(p *parcel) {
	if p.queued || !p.offered || !p.placed || p.next-p.acked >= logWindow {
		return
	}
	if _, ended := p.log.End(); p.log.Size() > p.next || (ended && !p.endSent) {
		p.queued = true
		s.ready = append(s.ready, p)
	}
}

func (s *shipment) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take applies acks and returns the leases whose logs may go.
func (s *shipment) take(acks []*pb.LogAck) (drop []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	for _, a := range acks {
		p := s.parcels[a.Lease]
		if p == nil {
			continue
		}
		if a.Sealed || a.Refused {
			s.close(p, a)
			drop = append(drop, a.Lease)
			continue
		}
		s.move(p, a)
		s.enqueue(p)
	}
	s.poke()
	return drop
}

func (s *shipment) close(p *parcel, a *pb.LogAck) {
	s.inFlight -= p.next - p.acked
	p.acked = p.next
	p.placed = false
	delete(s.parcels, a.Lease)
	if a.Sealed {
		s.metrics.sealed.Inc()
		return
	}
	s.metrics.refused.Inc()
	s.logger.Warn("log refused by the leader and dropped", "job", p.log.ID().Job,
		"attempt", p.log.ID().Attempt, "lease", a.Lease, "why", a.Why)
}

// move places the log where the leader wants it from, or notes progress.
func (s *shipment) move(p *parcel, a *pb.LogAck) {
	want := min(a.Want, p.log.Size())
	if !p.placed || a.Resend {
		s.inFlight -= p.next - p.acked
		p.placed, p.endSent = true, false
		p.acked, p.next = want, want
		return
	}
	if want <= p.acked {
		return
	}
	s.inFlight -= min(want, p.next) - p.acked
	p.acked, p.next = want, max(want, p.next)
}
