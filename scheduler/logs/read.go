package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

const (
	readBytes = 256 << 10 // in one message to a reader
	// patience is how long a read waits for a leader, or for a holder of the log,
	// without a byte; then the caller may ask another node.
	patience = 5 * time.Second
	again    = 100 * time.Millisecond // between two tries
)

// Read sends an attempt's log from the request's offset: from this node's store
// if it has all of a sealed log or leads, else from a node that does. With Follow
// it waits for more until the log is sealed, or until nobody is left to send the
// rest. Its last message says Complete or IncompleteWhy; without one, or with an
// error, there may be more: read on from where it stopped, on any node.
func (s *Service) Read(ctx context.Context, req *pb.ReadLogRequest, send func(*pb.LogData) error) error {
	if req.Local {
		return s.readStored(ctx, req, send)
	}
	wake, leave := s.hub.join(req.Job)
	defer leave()
	r := &reader{
		Service: s, job: fsm.JobID(req.Job), attempt: fsm.AttemptNo(req.Attempt), offset: req.Offset,
		follow: req.Follow, passedOn: req.PassedOn, packs: req.Packed, out: send, wake: wake,
	}
	for {
		if done, err := r.step(ctx); done || err != nil {
			return err
		}
	}
}

// readStored sends what this node stores, for another node to copy.
func (s *Service) readStored(ctx context.Context, req *pb.ReadLogRequest, send func(*pb.LogData) error) error {
	r := &reader{Service: s, job: fsm.JobID(req.Job), attempt: fsm.AttemptNo(req.Attempt), offset: max(req.Offset, 0), packs: req.Packed, out: send}
	info, ok := s.Disk.Stat(r.key())
	if !ok || info.Expired {
		return &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("node %s stores nothing of the %s", s.nodeName(s.Self), logName(r.key()))}
	}
	return r.stored(ctx, info.Size)
}

// reader is one call of Read.
type reader struct {
	*Service
	job       fsm.JobID
	attempt   fsm.AttemptNo // 0: not chosen yet
	offset    int64         // of the next byte; negative: from the end
	follow    bool
	passedOn  bool
	packs     bool // it takes packed data
	recent    func(offset int64) (packed []byte, n int64)
	out       func(*pb.LogData) error
	wake      chan struct{} // the state says something new of the job
	moved     time.Time     // when the last byte was sent
	trouble   time.Time     // since when nobody serves the log; zero: somebody does
	noted     bool          // the reader knows of the pause
	unoffered time.Time     // since when its worker is here and does not offer it; zero: it does
}

func (r *reader) key() logstore.Key { return keyOf(r.job, r.attempt) }

// step reads as far as the present source goes. done: the reader has had the
// last message.
func (r *reader) step(ctx context.Context) (done bool, err error) {
	j, err := r.find()
	if err != nil {
		return true, err
	}
	a, ok := j.Attempt(r.attempt)
	if !ok {
		return r.noAttempt(ctx, j)
	}
	r.attempt = a.No
	switch {
	case a.Log.GetExpired():
		return true, expired(r.key())
	case a.Log != nil:
		return r.sealed(ctx, a.Log)
	}
	if t := r.current(); t != nil {
		return r.live(ctx, t, j.Pool, a)
	}
	return r.elsewhere(ctx)
}

func (r *reader) find() (j *fsm.Job, err error) {
	r.Store.View(func(st *fsm.State) { j, err = st.Job(r.job) })
	return j, err
}

func expired(k logstore.Key) error {
	return &fsm.Refusal{Kind: fsm.Expired, Message: fmt.Sprintf("the %s has expired: no node has it any more; it was dropped to keep the log store's byte budget, or lost with the nodes that had it", logName(k))}
}

// noAttempt serves a job without the attempt that was asked for.
func (r *reader) noAttempt(ctx context.Context, j *fsm.Job) (done bool, err error) {
	last := j.Last()
	switch {
	case last != nil && r.attempt < last.No:
		return true, &fsm.Refusal{Kind: fsm.Expired, Message: fmt.Sprintf("attempt %d of job %d is forgotten: only the newest %d are kept", r.attempt, j.ID, fsm.MaxAttempts)}
	case last != nil && (!r.follow || !j.Waiting()):
		return true, &fsm.Refusal{Kind: fsm.NotFound, Message: fmt.Sprintf("job %d has no attempt %d; the newest is %d", j.ID, r.attempt, last.No)}
	case j.State == pb.JobState_JOB_STATE_SETTLED:
		return true, r.incomplete("job %d never ran: it has no log", j.ID)
	case !r.follow:
		return true, r.incomplete("job %d has not started: it waits in pool %s", j.ID, j.Pool)
	}
	select {
	case <-ctx.Done():
		return true, context.Cause(ctx)
	case <-r.wake:
		return false, nil
	}
}

// sealed reads a complete log, here or from whoever has it.
func (r *reader) sealed(ctx context.Context, log *pb.LogInfo) (done bool, err error) {
	if err := r.begin(log.Bytes, true); err != nil {
		return true, err
	}
	if r.whole(r.key(), log) {
		err := r.stored(ctx, log.Bytes)
		if err == nil {
			return true, r.out(&pb.LogData{Attempt: uint32(r.attempt), Offset: r.offset, Complete: true})
		}
		if !missing(err) {
			return true, err
		}
		r.Logger.Warn("stored log not readable here", "job", r.job, "attempt", r.attempt, "error", err)
	}
	if r.passedOn {
		return true, unavailable("node %s has no whole copy of the %s", r.nodeName(r.Self), logName(r.key()))
	}
	return r.holders(ctx, log)
}

// begin turns an offset from the end into one from the beginning.
func (r *reader) begin(size int64, final bool) error {
	if r.offset < 0 {
		r.offset = max(0, size+r.offset)
	}
	if final && r.offset > size {
		return &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf("offset %d is beyond the end: the %s has %d bytes", r.offset, logName(r.key()), size)}
	}
	return nil
}

// stored sends what this node's store has, up to an end.
func (r *reader) stored(ctx context.Context, end int64) error {
	for r.offset < end {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if packed, n := r.asPacked(end); packed != nil {
			if err := r.send(nil, packed, n); err != nil {
				return err
			}
			continue
		}
		buf := make([]byte, min(end-r.offset, readBytes))
		n, err := r.Disk.ReadAt(r.key(), buf, r.offset)
		if n > 0 {
			if err := r.sendPlain(buf[:n]); err != nil {
				return err
			}
			continue
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = logstore.ErrNotFound // it was dropped meanwhile
		}
		return fmt.Errorf("read the %s: %w", logName(r.key()), err)
	}
	return nil
}

// asPacked returns the packed piece at the reader's offset, from memory or from
// the store; nil where there is none, or the reader wants none.
func (r *reader) asPacked(end int64) (packed []byte, n int64) {
	if !r.packs {
		return nil, 0
	}
	if r.recent != nil {
		packed, n = r.recent(r.offset)
	}
	if packed == nil {
		packed, n, _ = r.Disk.PackedAt(r.key(), r.offset) // ReadAt tells what is wrong
	}
	if r.offset+n > end {
		return nil, 0
	}
	return packed, n
}

func (r *reader) sendPlain(data []byte) error {
	if r.packs {
		if packed := logpack.Pack(data); packed != nil {
			return r.send(nil, packed, int64(len(data)))
		}
	}
	return r.send(data, nil, int64(len(data)))
}

// send sends n bytes of the log, plain or packed.
func (r *reader) send(data, packed []byte, n int64) error {
	err := r.out(&pb.LogData{Attempt: uint32(r.attempt), Offset: r.offset, Data: data, Packed: packed})
	r.offset += n
	r.moved, r.trouble, r.noted = time.Now(), time.Time{}, false
	r.metrics.out.Add(float64(n))
	return err
}

func (r *reader) incomplete(format string, args ...any) error {
	return r.out(&pb.LogData{Attempt: uint32(r.attempt), Offset: max(r.offset, 0), IncompleteWhy: fmt.Sprintf(format, args...)})
}

// note tells the reader of a pause, once.
func (r *reader) note(format string, args ...any) error {
	if r.noted || !r.follow {
		return nil
	}
	r.noted = true
	return r.out(&pb.LogData{Attempt: uint32(r.attempt), Offset: max(r.offset, 0), Note: fmt.Sprintf(format, args...)})
}

// retry pauses before another try, or gives up when nothing has moved for long.
func (r *reader) retry(ctx context.Context, cause error) error {
	if r.trouble.IsZero() {
		r.trouble = time.Now()
	}
	if time.Since(r.trouble) > patience {
		return cause
	}
	if time.Since(r.trouble) > time.Second {
		if err := r.note("the log pauses: %v", cause); err != nil {
			return err
		}
	}
	timer := time.NewTimer(again)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.wake:
	case <-timer.C:
	}
	return nil
}

// elsewhere reads a log that grows from the leader.
func (r *reader) elsewhere(ctx context.Context) (done bool, err error) {
	if r.passedOn {
		return true, raftnode.ErrNotLeader
	}
	leader, ok := r.Leader()
	if !ok || leader.ID == r.Self {
		return false, r.retry(ctx, fmt.Errorf("%w, and it knows no leader that has the %s", raftnode.ErrNotLeader, logName(r.key())))
	}
	led, stop := r.WhileLed(ctx, leader.ID)
	done, err = r.proxy(led, leader.ID, false)
	if cause := context.Cause(led); !done && errors.Is(cause, raftnode.ErrNotLeader) {
		err = cause
	}
	stop()
	if done || ctx.Err() != nil {
		return true, err
	}
	return false, r.retry(ctx, fmt.Errorf("%w: the leader, node %s, does not send the %s: %w", raftnode.ErrNotLeader, leader.Name, logName(r.key()), err))
}
