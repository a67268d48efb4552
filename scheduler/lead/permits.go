package lead

import (
	"fmt"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

const (
	// permitLevel is the feature level from which jobs can have a concurrency key.
	permitLevel = 4
	// killGrace is how long a worker may take to kill a build once it must.
	killGrace = 5 * time.Second
	// shownHolders is how many jobs with a key are named.
	shownHolders = 5
)

// A worker kills a job with a concurrency key when no heartbeat was acknowledged for
// its leash, which it counts from the sending. Whoever leads may have acknowledged
// one until the lease was over, or, deposed without knowing it, until somebody else
// was in office: so the key is freed a leash and a grace later than both. Only the
// leader's own monotonic clock counts; a new leader begins anew.

// leash is what a job with a concurrency key is granted with.
func (p *pool) leash() int64 { return max(p.roster.ttl.Milliseconds(), fsm.MinLeaseTTL) }

// holdOn notes an attempt that is over and still takes its key. The lock is held.
func (t *term) holdOn(a *fsm.Attempt) {
	if !a.Held {
		return
	}
	wait := killGrace
	if a.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_WORKER_RESTARTED {
		wait += time.Duration(a.Leash) * time.Millisecond
	}
	t.held[a.Lease] = t.elapsed() + wait
}

// holdAll notes all of them, at the beginning of a term.
func (t *term) holdAll(s *fsm.State) {
	clear(t.held)
	for _, a := range s.Holds() {
		t.holdOn(a)
	}
}

// freePermits frees the keys whose time has come. The lock is held.
func (t *term) freePermits(now time.Duration) {
	for lease, at := range t.held {
		if now < at {
			continue
		}
		t.held[lease] = now + again // if this fails
		t.propose("free permit", &pb.Command{MinLevel: permitLevel, Op: &pb.Command_FreePermit{FreePermit: &pb.FreePermit{Lease: uint64(lease)}}})
	}
}

// keyHolders names the jobs that take a waiting job's concurrency key. The lock is
// held.
func (t *term) keyHolders(j *fsm.Job) (lines []string) {
	if j.Concurrency == "" {
		return nil
	}
	t.store.View(func(s *fsm.State) {
		for o := range s.Leases(j.Pool) {
			if o.Concurrency == j.Concurrency && len(lines) < shownHolders {
				lines = append(lines, fmt.Sprintf("job %d has the key: it runs on worker %s", o.ID, o.Worker()))
			}
		}
		for o, a := range s.Holds() {
			if o.Pool == j.Pool && o.Concurrency == j.Concurrency && len(lines) < shownHolders {
				lines = append(lines, t.explainHold(o, a))
			}
		}
	})
	return lines
}

func (t *term) explainHold(j *fsm.Job, a *fsm.Attempt) string {
	left := max(t.held[a.Lease]-t.elapsed(), 0).Round(100 * time.Millisecond)
	return fmt.Sprintf("job %d takes the key for another %v: attempt %d on worker %s ended as %s, and its build may still run there",
		j.ID, left, a.No, a.Worker, fsm.OutcomeName(a.Outcome.GetKind()))
}
