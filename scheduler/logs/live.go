package logs

import (
	"context"
	"fmt"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/logstore"
)

const (
	placeWait  = 2 * time.Second // for bytes that other nodes have
	quiet      = 2 * time.Second // of a worker, before its readers hear of a pause
	lookAround = time.Second
	// A log that is not sealed is given up, for a reader, when its attempt is over
	// and its worker has been silent for so long.
	lostFor    = 5 * time.Second // the attempt ended because the worker was lost
	unsealedAt = time.Minute     // the worker had reported the end
)

// live reads a log that is not sealed, on the leader.
func (r *reader) live(ctx context.Context, t *term, pool string, a *fsm.Attempt) (done bool, err error) {
	if err := r.placed(ctx, t, a); err != nil {
		return true, err
	}
	grew, cancel := r.Disk.Watch(r.key())
	defer cancel()
	ticker := time.NewTicker(lookAround)
	defer ticker.Stop()
	r.trouble = time.Time{}
	r.recent = func(offset int64) ([]byte, int64) { return t.packed(r.key(), offset) }
	defer func() { r.recent = nil }()
	for {
		size := r.stat(r.key()).Size
		if err := r.begin(size, false); err != nil {
			return true, err
		}
		if err := r.stored(ctx, size); err != nil && !missing(err) {
			return true, err
		}
		now, ok := r.unsealed()
		if !ok || r.current() != t {
			return false, nil
		}
		if done, err := r.wait(t, pool, now); done || err != nil {
			return true, err
		}
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-t.ctx.Done():
			return false, r.retry(ctx, unavailable("node %s does not lead any more", r.nodeName(r.Self)))
		case <-grew:
		case <-r.wake:
		case <-ticker.C:
		}
	}
}

// placed waits until this node has what other nodes have of the log, but not for
// long: what is here can be read meanwhile.
func (r *reader) placed(ctx context.Context, t *term, a *fsm.Attempt) error {
	t.mu.Lock()
	f := t.open(r.key(), uint64(a.Lease), a.Started > t.began)
	t.mu.Unlock()
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case <-f.placed:
	case <-timer.C:
	case <-t.ctx.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// unsealed is the attempt as it is now, unless its log is sealed or it is gone.
func (r *reader) unsealed() (*fsm.Attempt, bool) {
	j, err := r.find()
	if err != nil {
		return nil, false
	}
	a, ok := j.Attempt(r.attempt)
	return a, ok && a.Log == nil
}

// wait tells the reader, who has all that is here, why there is no more; done: it
// will not wait for it.
func (r *reader) wait(t *term, pool string, a *fsm.Attempt) (done bool, err error) {
	live := r.liveness(t, pool, a.Worker)
	if t.ctx.Err() != nil {
		return false, nil // a node that has stopped to lead knows nothing of workers
	}
	over := a.Outcome != nil
	if why := r.lost(pool, a); over && why != "" {
		return true, r.incomplete("attempt %d is over, and the rest of its log is lost: %s", a.No, why)
	}
	if over && r.givenUp(t, a, live) {
		return true, r.incomplete("attempt %d is over; worker %s of pool %s holds the rest; %s%s", a.No, a.Worker, pool, live, remedy(pool, a, live))
	}
	if !r.follow {
		state := "still runs"
		if over {
			state = "is over"
		}
		return true, r.incomplete("attempt %d %s; worker %s of pool %s holds the rest; %s", a.No, state, a.Worker, pool, live)
	}
	if !live.Connected && live.Ago > quiet && time.Since(r.moved) > quiet {
		return false, r.note("the log pauses: worker %s of pool %s holds the rest; %s", a.Worker, pool, live)
	}
	return false, nil
}

// lost says why nobody will ever send the rest of an attempt's log; "" while its
// worker may.
func (r *reader) lost(pool string, a *fsm.Attempt) (why string) {
	r.Store.View(func(st *fsm.State) {
		switch w, ok := st.Worker(pool, a.Worker); {
		case !ok:
			why = fmt.Sprintf("worker %s of pool %s was forgotten", a.Worker, pool)
		case !a.HeldBy(w.Name, w.Key[:]):
			why = fmt.Sprintf("worker %s of pool %s is another machine now, or has lost its state directory", a.Worker, pool)
		}
	})
	return why
}

// givenUp says that the rest of a log will not come soon: its worker is away, or
// is here and does not offer it.
func (r *reader) givenUp(t *term, a *fsm.Attempt, live Liveness) bool {
	if !live.Connected {
		r.unoffered = time.Time{}
		return live.Ago > tolerated(a.Outcome)
	}
	if t.offered(r.key()) {
		r.unoffered = time.Time{}
	} else if r.unoffered.IsZero() {
		r.unoffered = time.Now()
	}
	return !r.unoffered.IsZero() && time.Since(r.unoffered) > r.every.offer
}

// offered says that a worker's stream has the log to send.
func (t *term) offered(key logstore.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[key]
	return f != nil && f.ship != nil
}

// remedy is what an operator can do about the rest of a log.
func remedy(pool string, a *fsm.Attempt, live Liveness) string {
	switch {
	case live.Connected:
		return " and does not send it: its own log may say why"
	case a.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_WORKER_REVOKED:
		return ""
	}
	return fmt.Sprintf("; its capability was revoked: start it with another one, or run 'weir worker forget %s %s' if it is gone for good", pool, a.Worker)
}

func tolerated(o *pb.Outcome) time.Duration {
	switch o.GetKind() {
	case pb.OutcomeKind_OUTCOME_WORKER_LOST, pb.OutcomeKind_OUTCOME_WORKER_REVOKED:
		return lostFor
	}
	return unsealedAt
}

// liveness is what is known of a worker; one not heard in this term has been
// silent at least since it began.
func (r *reader) liveness(t *term, pool, worker string) Liveness {
	live := r.Heard(pool, worker)
	if !live.Known {
		live.Ago = time.Since(t.since)
	}
	return live
}

// String says it to people.
func (l Liveness) String() string {
	ago := l.Ago.Round(time.Second)
	if l.Connected {
		return "it is connected"
	}
	if !l.Known {
		return fmt.Sprintf("it has not been heard in the %v that this node leads", ago)
	}
	return fmt.Sprintf("it was last heard %v ago", ago)
}
