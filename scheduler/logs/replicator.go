package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// The sizes of what goes to a peer.
const (
	pieceBytes   = 256 << 10
	messageBytes = 1 << 20
	messageParts = 2048
	redialPause  = 100 * time.Millisecond
	redialMax    = 2 * time.Second
	// maxBehind is how many logs wait for a slow peer before it misses those that
	// are sealed without it.
	maxBehind = 10_000
)

type replicaStream = grpc.BidiStreamingClient[pb.LogReplicas, pb.LogReplicaAcks]

// replicator copies the term's logs to one peer. Its fields but id and wake are
// guarded by term.mu.
type replicator struct {
	t    *term
	id   raftnode.NodeID
	wake chan struct{}

	queue []*flow
	down  time.Time // since when there is no stream; zero: there is one
}

func newReplicator(t *term, id raftnode.NodeID) *replicator {
	return &replicator{t: t, id: id, wake: make(chan struct{}, 1), down: time.Now()}
}

// failing says whether another node should have the copies: it is away, or owes
// an answer, for too long. Called with mu held.
func (r *replicator) failing() bool {
	if !r.down.IsZero() {
		return time.Since(r.down) > tolerance
	}
	for _, f := range r.t.flows {
		c := f.replica(r)
		if c != nil && (c.asked || c.ended) && !c.whole && !c.failed && time.Since(c.since) > tolerance {
			return true
		}
	}
	return false
}

// push queues a flow; called with mu held.
func (r *replicator) push(f *flow) {
	r.queue = append(r.queue, f)
	poke(r.wake)
}

// start runs the replicator until the returned function is called, which waits
// for it.
func (r *replicator) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(ctx)
	}()
	return func() { cancel(); <-done }
}

// run makes a stream, and again when one breaks. Failures are told once.
func (r *replicator) run(ctx context.Context) {
	logger, told, wait := r.t.Logger.With("peer", r.t.nodeName(r.id)), false, redialPause
	for ctx.Err() == nil {
		worked, err := r.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if worked {
			told, wait = false, redialPause
		}
		if !told {
			told = true
			logger.Warn("logs are not copied to a peer; trying again", "error", err)
		}
		if pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, redialMax)
	}
}

// once is the life of one stream; worked says that the peer answered.
func (r *replicator) once(ctx context.Context) (worked bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	peer, err := r.t.node(r.id)
	if err != nil {
		return false, err
	}
	stream, err := peer.ReplicateLogs(ctx)
	if err != nil {
		return false, fmt.Errorf("open log copies: %w", err)
	}
	if err := stream.Send(&pb.LogReplicas{}); err != nil { // fails while it is not connected
		return false, fmt.Errorf("open log copies: %w", recvError(stream, err))
	}
	r.begin()
	defer r.broken()
	done := make(chan struct{})
	go func() {
		defer close(done)
		worked, err = r.receive(stream)
		cancel(err)
	}()
	sendErr := r.send(ctx, stream)
	cancel(sendErr)
	<-done
	if errors.Is(err, context.Canceled) || err == nil {
		err = sendErr
	}
	return worked, err
}

// recvError is why a stream broke; Send itself says EOF.
func recvError(stream replicaStream, err error) error {
	if errors.Is(err, io.EOF) {
		if _, why := stream.Recv(); why != nil {
			return why
		}
	}
	return err
}

// begin queues every log under way: the peer may have restarted, so where it is
// with each is not known.
func (r *replicator) begin() {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	r.down, r.queue = time.Time{}, nil
	for _, f := range t.flows {
		c := f.replica(r)
		if c == nil {
			continue
		}
		sent := int64(unknown)
		if c.sent == 0 && !c.asked {
			sent = 0 // nothing was ever sent: it has nothing
		}
		*c = replica{to: r, sent: sent, drop: c.drop, again: c.again, failed: c.failed, whole: c.whole}
		t.feed(f)
	}
}

func (r *replicator) broken() {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	r.down, r.queue = time.Now(), nil
	for _, f := range r.t.flows {
		if f.only == r {
			r.t.release(f)
		}
	}
}

func (r *replicator) send(ctx context.Context, stream replicaStream) error {
	for {
		msg := r.message()
		if msg == nil {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-r.wake:
			}
			continue
		}
		if err := stream.Send(msg); err != nil {
			return fmt.Errorf("copy logs: %w", err)
		}
	}
}

// message makes the next message of the queued logs' turns; nil: all is sent.
func (r *replicator) message() *pb.LogReplicas {
	msg := new(pb.LogReplicas)
	for _, p := range r.pieces() {
		if p.n > 0 && p.out.Data == nil && p.out.Packed == nil && !r.read(p) {
			continue // it was dropped here: it starts over, or is damaged and not sealed
		}
		msg.Logs = append(msg.Logs, p.out)
	}
	if len(msg.Logs) == 0 {
		return nil
	}
	return msg
}

// read takes a piece's bytes from this node's store.
func (r *replicator) read(p piece) bool {
	data := make([]byte, p.n)
	got, err := r.t.Disk.ReadAt(logstore.Key{Job: p.out.Job, Attempt: p.out.Attempt}, data, p.out.Offset)
	if p.out.Packed = logpack.Pack(data); p.out.Packed == nil {
		p.out.Data = data
	}
	return err == nil && got == len(data)
}

type piece struct {
	out *pb.LogReplica
	n   int64 // bytes of it, to be read unless they are there
}

// pieces cuts the next pieces and counts them as sent.
func (r *replicator) pieces() (cut []piece) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var bytes int64
	for len(r.queue) > 0 && bytes < messageBytes && len(cut) < messageParts {
		f := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		c := f.replica(r)
		if c == nil {
			continue
		}
		c.queued = false
		if !f.owes(c) || (f.stage == closed && len(r.queue) > maxBehind) {
			continue
		}
		p := r.cut(f, c)
		bytes += p.n
		cut = append(cut, p)
		if f.owes(c) {
			c.queued = true
			r.queue = append(r.queue, f)
		}
	}
	return cut
}

// cut takes the next piece of one log.
func (r *replicator) cut(f *flow, c *replica) piece {
	out := &pb.LogReplica{Job: f.key.Job, Attempt: f.key.Attempt}
	switch {
	case c.drop:
		c.drop, c.sent, c.ended = false, 0, false
		out.Drop = true
		return piece{out: out}
	case c.sent == unknown:
		c.asked, c.since = true, time.Now()
		out.Offset, out.Sync = f.end, true
		return piece{out: out}
	}
	n := int64(0)
	out.Offset = c.sent
	n, out.Packed, out.Data = f.cutAt(c.sent, pieceBytes)
	c.sent += n
	if f.stage >= whole && f.final != nil && c.sent == f.final.bytes {
		c.ended, c.since = true, time.Now()
		out.SealBytes, out.SealSha256 = f.final.bytes, f.final.digest[:]
	}
	return piece{out: out, n: n}
}

// receive takes the peer's answers.
func (r *replicator) receive(stream replicaStream) (worked bool, err error) {
	for {
		acks, err := stream.Recv()
		if err != nil {
			return worked, fmt.Errorf("copy logs: %w", err)
		}
		worked = true
		r.t.propose(r.take(acks.Logs))
	}
}

func (r *replicator) take(acks []*pb.LogReplicaAck) (ready []*flow) {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range acks {
		f := t.flows[logstore.Key{Job: a.Job, Attempt: a.Attempt}]
		if f == nil {
			continue
		}
		c := f.replica(r)
		if c == nil {
			continue
		}
		r.apply(f, c, a)
		ready = t.consider(f, ready)
		t.feed(f)
	}
	return ready
}

// apply notes one answer.
func (r *replicator) apply(f *flow, c *replica, a *pb.LogReplicaAck) {
	switch {
	case a.Error != "" && c.again:
		c.failed = true
		r.t.Logger.Warn("a peer cannot hold a log", "peer", r.t.nodeName(r.id), "job", a.Job, "attempt", a.Attempt, "error", a.Error)
	case a.Error != "":
		c.drop, c.again, c.asked = true, true, false
	case a.Sealed && c.ended:
		c.whole = a.Stored == f.final.bytes
	case a.Gap || c.sent == unknown:
		c.sent, c.ended, c.asked = min(a.Stored, f.end), false, false
	}
}
