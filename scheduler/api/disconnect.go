package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/scheduler/auth"
)

// keptFor is how long a job goes on that was to end with its client's stream.
const keptFor = 10 * time.Second

// mayKeep refuses a caller who may not cancel what it watches.
func mayKeep(id auth.Identity) error {
	if may, ok := auth.Allowed(pb.JobService_Cancel_FullMethodName); ok && may&id.Kind != 0 {
		return nil
	}
	return &fsm.Refusal{Kind: reason.Denied, Message: "cancel_on_disconnect is not for a caller that may not cancel: use a submit, operator or admin capability (weir cap create)"}
}

// keeper names whose streams may take each other's place.
func keeper(id auth.Identity) string {
	if id.Client != "" {
		return "client " + id.Client
	}
	return id.Name()
}

// left says whether a stream was ended by its client's side, and not by this
// node.
func left(stream context.Context) bool {
	cause := context.Cause(stream)
	return errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded)
}

// abandon cancels a job whose client has left, unless another stream of the
// client takes over in time. A lost office cancels nothing: the next leader's
// watchers are the ones that count.
func (s *Server) abandon(w *jobWatch, id auth.Identity) error {
	term, ok := s.Store.Leading()
	if !ok {
		return nil
	}
	s.watches.drop(w)
	patience := time.NewTimer(keptFor)
	defer patience.Stop()
	for {
		job, refusal := s.localJob(uint64(w.id))
		if refusal != nil || job.State == pb.JobState_JOB_STATE_SETTLED || s.watches.kept(w.id, keeper(id)) {
			return nil
		}
		select {
		case <-w.wake:
		case <-term.Done():
			return nil
		case <-patience.C:
			_, err := s.Store.Propose(term, &pb.Command{
				Actor: id.Actor(),
				Op:    &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(w.id), Reason: fmt.Sprintf("its client was gone for %v", keptFor)}},
			})
			return err
		}
	}
}

// keep makes a job end with a watcher's stream. Those that wait for such a
// watcher look again.
func (w *watches) keep(watch *jobWatch, who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch.keeper = who
	for other := range w.jobs[watch.id] {
		poke(other.wake)
	}
}

// drop ends that: the stream is over.
func (w *watches) drop(watch *jobWatch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch.keeper = ""
}

// kept says whether a stream of somebody keeps the job.
func (w *watches) kept(id fsm.JobID, who string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for watch := range w.jobs[id] {
		if watch.keeper == who {
			return true
		}
	}
	return false
}
