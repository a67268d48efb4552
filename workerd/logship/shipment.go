package logship

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/logpack"
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
	how        life          // written by receive, read after it has ended

	mu       sync.Mutex
	parcels  map[uint64]*parcel
	offers   []*parcel // not offered yet
	ready    []*parcel // with something to send, in turn
	inFlight int64     // bytes sent and not acknowledged
	page     [ChunkBytes]byte
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
	total := s.chunks(up)
	if len(up.Offers) == 0 && len(up.Chunks) == 0 {
		return nil, false
	}
	s.metrics.sent.Add(float64(total))
	return up, total >= messageBytes || len(up.Offers)+len(up.Chunks) >= messageParts
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
func (s *shipment) chunks(up *pb.LogUp) (total int64) {
	for len(s.ready) > 0 && total < messageBytes && len(up.Chunks) < messageParts && s.inFlight < WindowBytes {
		p := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		p.queued = false
		if !p.placed {
			continue // refused meanwhile
		}
		c, n := s.chunk(p)
		if c == nil {
			continue
		}
		up.Chunks = append(up.Chunks, c)
		total += n
		s.enqueue(p)
	}
	return total
}

// chunk cuts the next piece of a log and counts its n bytes as sent.
func (s *shipment) chunk(p *parcel) (_ *pb.LogChunk, n int64) {
	end, ended := p.log.End() // before the size: a finished log does not grow
	c := &pb.LogChunk{Lease: p.log.ID().Lease, Offset: p.next}
	n, err := s.read(p.log, c)
	if err != nil {
		s.logger.Error("spooled log cannot be read and is not sent", "error", err)
		return nil, 0
	}
	p.next += n
	s.inFlight += n
	if ended && p.next >= end.Bytes && !p.endSent {
		c.End = &pb.LogEnd{Bytes: end.Bytes, Sha256: end.SHA256[:]}
		p.endSent = true
	}
	if n == 0 && c.End == nil {
		return nil, 0
	}
	return c, n
}

// read puts the log's bytes at the chunk's offset into it.
func (s *shipment) read(log *spool.Log, c *pb.LogChunk) (n int64, err error) {
	if n = min(log.Size()-c.Offset, ChunkBytes); n <= 0 {
		return 0, nil
	}
	data := s.page[:]
	if n < logpack.MinBytes {
		data = make([]byte, n)
	}
	got, err := log.ReadAt(data[:n], c.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	data = data[:got]
	if c.Packed = logpack.Pack(data); c.Packed == nil {
		c.Data = data
		if n >= logpack.MinBytes {
			c.Data = bytes.Clone(data)
		}
	}
	return int64(got), nil
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
	s.how = max(s.how, useless)
	for _, a := range acks {
		p := s.parcels[a.Lease]
		if p == nil {
			continue
		}
		if a.Sealed || a.Refused {
			s.how = useful
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
	s.how = useful
	s.inFlight -= min(want, p.next) - p.acked
	p.acked, p.next = want, max(want, p.next)
}
