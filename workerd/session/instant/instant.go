// Package instant is a worker without work: every attempt succeeds the moment it
// is granted. It speaks the real session protocol through package session and
// keeps in memory what a real worker keeps on disk, so that a benchmark measures
// everything but the builds. It promises the same answers as a real worker to
// repeated grants and lost acknowledgements, and holds no goroutine of its own.
package instant

import (
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/session"
)

// Worker is a session.Host.
type Worker struct {
	session *session.Session
	granted func(*pb.Grant)

	mu      sync.Mutex
	highest uint64
	waiting map[uint64]struct{}
	done    int64
}

var _ session.Host = (*Worker)(nil)

var succeeded = &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}

// New makes a worker and its session. granted, when not nil, is called for every
// new lease before its result is sent, and must not block: the place to write
// the attempt's log.
func New(cfg session.Config, granted func(*pb.Grant), log hclog.Logger) *Worker {
	w := &Worker{granted: granted, waiting: map[uint64]struct{}{}}
	w.session = session.New(cfg, w, log, nil)
	return w
}

// Session returns the worker's session, for its owner to run.
func (w *Worker) Session() *session.Session { return w.session }

// Done counts the acknowledged attempts.
func (w *Worker) Done() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// Running implements session.Host: nothing ever is.
func (w *Worker) Running() []*pb.RunningAttempt { return nil }

// HighestLease implements session.Host.
func (w *Worker) HighestLease() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

// Status implements session.Host.
func (w *Worker) Status() *pb.WorkerStatus { return &pb.WorkerStatus{Ready: true} }

// Results implements session.Host.
func (w *Worker) Results() []*pb.FinishedAttempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	results := make([]*pb.FinishedAttempt, 0, len(w.waiting))
	for _, lease := range slices.Sorted(maps.Keys(w.waiting)) {
		results = append(results, finished(lease))
	}
	return results
}

// Welcome implements session.Host.
func (w *Worker) Welcome(*pb.Welcome) error { return nil }

// Grants implements session.Host.
func (w *Worker) Grants(grants []*pb.Grant) {
	results := make([]*pb.FinishedAttempt, len(grants))
	for i, g := range grants {
		if w.begin(g.Lease) && w.granted != nil {
			w.granted(g)
		}
		results[i] = finished(g.Lease)
	}
	w.session.Finished(results...)
}

// begin reports whether the lease is new.
func (w *Worker) begin(lease uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.waiting[lease]
	w.waiting[lease] = struct{}{}
	w.highest = max(w.highest, lease)
	return !known
}

// Stops implements session.Host: there is nothing to stop, only to forget.
func (w *Worker) Stops(stops []*pb.Stop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range stops {
		if s.Reason == pb.StopReason_STOP_FENCED {
			delete(w.waiting, s.Lease)
		}
	}
}

// FinishAcks implements session.Host.
func (w *Worker) FinishAcks(acks []*pb.FinishAck) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range acks {
		if _, ok := w.waiting[a.Lease]; ok {
			delete(w.waiting, a.Lease)
			w.done++
		}
	}
}

func finished(lease uint64) *pb.FinishedAttempt {
	return &pb.FinishedAttempt{Lease: lease, Outcome: succeeded}
}
