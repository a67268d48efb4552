package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
)

// maxInFlight is how many jobs of one stream wait for their commit; more are
// not read until some are answered.
const maxInFlight = 4096

// SubmitStream makes many jobs: requests are read while earlier ones are being
// committed, replies leave in the order of the commits. The stream ends with this
// node's office; what is not answered by then has an unknown outcome.
func (s *Server) SubmitStream(stream grpc.BidiStreamingServer[pb.SubmitRequest, pb.SubmitReply]) error {
	term, ok := s.Store.Leading()
	if !ok {
		return raftnode.ErrNotLeader
	}
	defer context.AfterFunc(term, func() {
		auth.End(stream.Context(), fmt.Errorf("%w: node %s leads no more, repeat what was not answered", raftnode.ErrUnknownOutcome, s.Name))
	})()
	id := auth.From(stream.Context())
	replies := newReplyQueue()
	sent := make(chan error, 1)
	go func() {
		err := replies.send(stream)
		sent <- err
		if err != nil {
			auth.End(stream.Context(), err)
		}
	}()
	err := s.receive(stream, id, replies)
	replies.finish()
	return errors.Join(err, <-sent)
}

// receive proposes what arrives until the client has no more.
func (s *Server) receive(stream grpc.BidiStreamingServer[pb.SubmitRequest, pb.SubmitReply], id auth.Identity, replies *replyQueue) error {
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !replies.begin() {
			return nil // the sender says why
		}
		sub, err := s.prepare(id, req)
		if err != nil {
			replies.put(submitFailure(req.Seq, err))
			continue
		}
		seq := req.Seq
		s.Store.ProposeAsync(sub.command, func(result fsm.Result, err error) {
			sub.settle(result, err)
			if err != nil {
				replies.put(submitFailure(seq, err))
				return
			}
			replies.put(submitReply(seq, result))
		})
	}
}

func submitFailure(seq uint64, err error) *pb.SubmitReply {
	s := status.Convert(Status(err))
	kind := reasonFor(err)
	return &pb.SubmitReply{Seq: seq, Error: &pb.SubmitError{
		Kind: kind, Message: s.Message(),
		Retry: kind == reason.NoLeader || kind == reason.UnknownOutcome || kind == reason.Busy,
	}}
}

// replyQueue is the replies of one stream that wait to be sent. The goroutine
// that commits puts them in and never waits; the stream's sender takes them out.
type replyQueue struct {
	room chan struct{} // one token for each job in flight

	mu      sync.Mutex
	ready   []*pb.SubmitReply
	waiting int  // jobs without a reply yet
	ending  bool // no more jobs will begin
	failed  chan struct{}

	wake chan struct{}
}

func newReplyQueue() *replyQueue {
	return &replyQueue{room: make(chan struct{}, maxInFlight), failed: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// begin makes room for one more job; false when its reply could not be sent.
func (q *replyQueue) begin() bool {
	select {
	case q.room <- struct{}{}:
	case <-q.failed:
		return false
	}
	q.mu.Lock()
	q.waiting++
	q.mu.Unlock()
	return true
}

func (q *replyQueue) put(r *pb.SubmitReply) {
	q.mu.Lock()
	q.ready = append(q.ready, r)
	q.waiting--
	q.mu.Unlock()
	q.poke()
}

// finish says that no more jobs will begin.
func (q *replyQueue) finish() {
	q.mu.Lock()
	q.ending = true
	q.mu.Unlock()
	q.poke()
}

func (q *replyQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// send sends replies until the last one is out, or the stream is broken.
func (q *replyQueue) send(stream grpc.BidiStreamingServer[pb.SubmitRequest, pb.SubmitReply]) error {
	var batch []*pb.SubmitReply
	for range q.wake {
		last := false
		batch, last = q.take(batch[:0])
		for _, r := range batch {
			if err := stream.Send(r); err != nil {
				close(q.failed)
				return err
			}
			<-q.room
		}
		if last {
			return nil
		}
	}
	return nil
}

// take swaps the ready replies out, and reports whether they are the last.
func (q *replyQueue) take(empty []*pb.SubmitReply) (ready []*pb.SubmitReply, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ready, q.ready = q.ready, empty
	return ready, q.ending && q.waiting == 0
}
