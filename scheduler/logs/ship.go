package logs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/lead"
)

// WorkerStream is a worker's ShipLogs call after its hello.
type WorkerStream interface {
	Context() context.Context
	Recv() (*pb.LogUp, error)
	Send(*pb.LogDown) error
}

var _ WorkerStream = grpc.BidiStreamingServer[pb.LogUp, pb.LogDown](nil)

// errTermOver ends what only a leader does.
var errTermOver = fmt.Errorf("%w any more", raftnode.ErrNotLeader)

// shipment is one worker's stream on the leader.
type shipment struct {
	t      *term
	holder *pb.Holder
	flows  map[uint64]*flow // by lease; guarded by t.mu
	bench  logpack.Bench    // what receive unpacks

	wake chan struct{}
	mu   sync.Mutex
	acks []*pb.LogAck
	last map[uint64]*pb.LogAck // the one of acks that a lease has
}

// Ship takes a worker's logs until the stream, or this node's term of office,
// ends. It fails with raftnode.ErrNotLeader on a node that does not lead.
func (s *Service) Ship(stream pb.WorkerService_ShipLogsServer, hello *pb.LogHello, by lead.Caller) error {
	t := s.current()
	if t == nil {
		return raftnode.ErrNotLeader
	}
	key := sha256.Sum256(hello.InstanceKey)
	h := &shipment{
		t:      t,
		holder: &pb.Holder{Pool: hello.Pool, Worker: hello.Name, KeySha256: key[:]},
		flows:  make(map[uint64]*flow),
		wake:   make(chan struct{}, 1),
		last:   make(map[uint64]*pb.LogAck),
	}
	ended := make(chan error, 1)
	if !t.run(func() { ended <- h.receive(stream) }) {
		return errTermOver
	}
	t.metrics.streams.Inc()
	defer t.metrics.streams.Dec()
	s.Logger.Debug("worker ships logs", "pool", hello.Pool, "worker", hello.Name, "from", by.Remote)
	defer t.leave(h)
	return h.answer(stream, ended)
}

// leave forgets a stream that ended; its logs wait for the worker's next one.
func (t *term) leave(h *shipment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range h.flows {
		f.ship = nil
	}
	clear(h.flows)
}

// answer is the one sender of the stream.
func (h *shipment) answer(stream WorkerStream, ended <-chan error) error {
	for {
		select {
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-h.t.ctx.Done():
			return errTermOver
		case <-h.wake:
			if acks := h.take(); len(acks) > 0 {
				if err := stream.Send(&pb.LogDown{Acks: acks}); err != nil {
					return fmt.Errorf("send log acks: %w", err)
				}
			}
		}
	}
}

func (h *shipment) take() []*pb.LogAck {
	h.mu.Lock()
	defer h.mu.Unlock()
	acks := h.acks
	h.acks = nil
	clear(h.last)
	return acks
}

// ack tells the worker something of logs; it replaces progress that was not
// sent yet.
func (h *shipment) ack(acks ...*pb.LogAck) {
	if len(acks) == 0 {
		return
	}
	h.mu.Lock()
	for _, a := range acks {
		if old := h.last[a.Lease]; old != nil {
			old.Want, old.Why = a.Want, a.Why
			old.Sealed, old.Refused, old.Resend = a.Sealed, a.Refused, a.Resend || old.Resend
		} else {
			h.acks = append(h.acks, a)
			h.last[a.Lease] = a
		}
	}
	h.mu.Unlock()
	poke(h.wake)
}

func (h *shipment) refuse(lease uint64, format string, args ...any) {
	h.t.metrics.refused.Inc()
	h.ack(&pb.LogAck{Lease: lease, Refused: true, Why: fmt.Sprintf(format, args...)})
}

// receive takes the worker's messages until the stream ends. It outlives the
// handler by no more than that takes.
func (h *shipment) receive(stream WorkerStream) error {
	for {
		up, err := stream.Recv()
		if err != nil {
			return err
		}
		if len(up.Offers) > 0 {
			h.offers(up.Offers)
		}
		if len(up.Chunks) > 0 {
			if err := h.chunks(up.Chunks); err != nil {
				return err
			}
		}
	}
}

// verdict is what the state says of an offer.
type verdict struct {
	refused string
	sealed  bool
	fresh   bool // granted in this term
}

// offers begins logs that the worker may send and answers the others.
func (h *shipment) offers(offers []*pb.LogOffer) {
	verdicts := make([]verdict, len(offers))
	h.t.Store.View(func(st *fsm.State) {
		for i, o := range offers {
			verdicts[i] = h.judge(st, o)
		}
	})
	for i, o := range offers {
		switch v := verdicts[i]; {
		case v.sealed:
			h.ack(&pb.LogAck{Lease: o.Lease, Sealed: true})
		case v.refused != "":
			h.refuse(o.Lease, "%s", v.refused)
		default:
			h.begin(o, v.fresh)
		}
	}
}

// judge checks an offer against the state: the worker must hold the lease, or
// have held it, and the log must not be sealed.
func (h *shipment) judge(st *fsm.State, o *pb.LogOffer) verdict {
	j, a, ok := st.Attempt(fsm.LeaseID(o.Lease))
	switch {
	case !ok:
		return verdict{refused: fmt.Sprintf("lease %d is not known: its job is forgotten, or it never was", o.Lease)}
	case j.Pool != h.holder.Pool || !a.HeldBy(h.holder.Worker, h.holder.KeySha256):
		return verdict{refused: fmt.Sprintf("lease %d belongs to worker %s of pool %s", o.Lease, a.Worker, j.Pool)}
	case uint64(j.ID) != o.Job || uint32(a.No) != o.Attempt:
		return verdict{refused: fmt.Sprintf("lease %d is attempt %d of job %d, not attempt %d of job %d", o.Lease, a.No, j.ID, o.Attempt, o.Job)}
	case a.Log.GetExpired():
		return verdict{refused: fmt.Sprintf("the log of job %d, attempt %d has expired", j.ID, a.No)}
	}
	return verdict{sealed: a.Log != nil, fresh: a.Started > h.t.began}
}

// begin makes this stream the source of a log. The worker hears from where to
// send once that is known.
func (h *shipment) begin(o *pb.LogOffer, fresh bool) {
	t, key := h.t, keyOf(fsm.JobID(o.Job), fsm.AttemptNo(o.Attempt))
	if info := t.stat(key); info.Damaged || info.Expired {
		if err := t.Disk.Drop(key); err != nil {
			t.Logger.Error("unusable log not dropped", "job", key.Job, "attempt", key.Attempt, "error", err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.open(key, o.Lease, fresh)
	if f.ship != nil {
		delete(f.ship.flows, f.lease)
	}
	f.holder, f.ship, f.gapped = h.holder, h, false
	h.flows[o.Lease] = f
	select {
	case <-f.placed:
		h.ack(&pb.LogAck{Lease: o.Lease, Want: f.end})
	default: // place answers
	}
}
