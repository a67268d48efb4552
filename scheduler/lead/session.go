package lead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// flushTime is how long an ending session tries to send what waits.
const flushTime = 250 * time.Millisecond

// ErrInterrupted ends a session for what has become of it, and not for what the
// worker is: it may connect again at once.
var ErrInterrupted = errors.New("connect again")

// session is one worker's control stream.
type session struct {
	term   *term
	pool   *pool
	member *member
	name   string
	id     string
	key    fsm.Digest
	boot   string
	update updates
	kinds  []string    // of the jobs that it takes
	told   atomic.Bool // to update
	by     Caller
	out    *outbox

	ctx     context.Context // ends with the session; its cause says why
	end     context.CancelCauseFunc
	flushed chan struct{} // closed when the sender has ended

	silent  atomic.Bool // it missed heartbeats
	sending atomic.Int64
	probed  probe
	pages   pages

	// Guarded by the term's lock.
	status  *pb.WorkerStatus
	through fsm.LeaseID // every lease of this worker up to here has been dealt with
}

// start lets the session's goroutines go. The term's lock is held.
func (s *session) start(stream SessionStream) {
	s.term.parts.Go(func() { s.end(s.receive(stream)) })
	s.term.parts.Go(func() {
		defer close(s.flushed)
		s.end(s.send(stream))
	})
}

// wait returns when the session has ended, with the reason.
func (s *session) wait() error {
	<-s.ctx.Done()
	patience := time.NewTimer(flushTime)
	defer patience.Stop()
	select {
	case <-s.flushed:
	case <-patience.C: // the return ends the stream, and the sender with it
	}
	if err := context.Cause(s.ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// send sends what waits until the session ends, and then what still does.
func (s *session) send(stream SessionStream) error {
	for {
		select {
		case <-s.out.wake:
		case <-s.ctx.Done():
			return s.drain(stream)
		}
		if err := s.drain(stream); err != nil {
			return err
		}
	}
}

func (s *session) drain(stream SessionStream) error {
	defer s.sending.Store(0)
	for m := s.out.take(); m != nil; m = s.out.take() {
		s.sending.Store(int64(s.term.elapsed()) + 1)
		if err := stream.Send(m); err != nil {
			return fmt.Errorf("send to the worker: %w", err)
		}
	}
	return nil
}

// stuck says whether one message has been on its way for so long.
func (s *session) stuck(now, patience time.Duration) bool {
	since := time.Duration(s.sending.Load())
	return since != 0 && now-since > patience
}

// receive takes in what the worker says until its stream ends.
func (s *session) receive(stream SessionStream) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		s.member.hear(s.term.elapsed())
		if s.silent.Load() {
			s.term.heardAgain(s)
		}
		if err := s.handle(m); err != nil {
			return err
		}
	}
}

func (s *session) handle(m *pb.WorkerMessage) error {
	if m.Hello != nil {
		return &fsm.Refusal{Kind: fsm.Invalid, Message: "the worker said hello twice in one session"}
	}
	if h := m.Heartbeat; h != nil {
		s.term.heartbeat(s, h)
		if err := s.out.heartbeat(h.Seq); err != nil {
			return err
		}
	}
	if m.ProbeReply != nil {
		s.probed.answer(m.ProbeReply.Nonce)
	}
	for _, p := range m.Pages {
		s.pages.answer(p)
	}
	if m.Status != nil {
		s.term.setStatus(s, m.Status)
	}
	for _, f := range m.Finished {
		s.finish(f)
	}
	return nil
}

// sendGrant passes a new lease on, in the order of the leases.
func (s *session) sendGrant(g *pb.Grant) {
	if fsm.LeaseID(g.Lease) <= s.through {
		return // the welcome has dealt with it
	}
	s.through = fsm.LeaseID(g.Lease)
	s.check(s.out.grant(g))
}

func (s *session) sendStop(stop *pb.Stop) { s.check(s.out.stop(stop)) }

// check ends the session when its outbox is full.
func (s *session) check(err error) {
	if err != nil {
		s.end(err)
	}
}

// inactive says why the worker gets no jobs; empty: it does. The term's lock is
// held.
func (s *session) inactive() string {
	switch {
	case s.silent.Load():
		return "is silent: it has missed heartbeats"
	case s.pool.pause != nil:
		return "waits: its pool " + s.pool.pause.Words()
	case s.member.pause != nil:
		return s.member.pause.Words()
	case s.status == nil:
		return "has not said yet that it is ready"
	case s.status.Draining:
		return "is draining"
	case !s.status.Ready && s.status.Why != "":
		return "is not ready: " + s.status.Why
	case !s.status.Ready:
		return "is not ready"
	}
	return ""
}

// setStatus takes in what a worker says of itself: its slots count at once.
func (t *term) setStatus(s *session, status *pb.WorkerStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.status = status
	t.applyStatus(s)
}

// heartbeat compares what a worker says it has with what it was given.
func (t *term) heartbeat(s *session, h *pb.Heartbeat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.member.session == s {
		s.member.claim(h.Running, t.elapsed())
	}
}

// heardAgain ends a worker's silence.
func (t *term) heardAgain(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.silent.Store(false)
	t.applyStatus(s)
}

func (t *term) applyStatus(s *session) {
	if s.member.session != s {
		return
	}
	s.pool.plan.SetInactive(s.name, s.inactive())
	t.notes.poke() // the loop proposes what was planned
}
