package fsm

import (
	"fmt"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// Result is what one command did. A repeat of a command that was already done
// (a lost reply) gives the same answer with Repeat set.
type Result struct {
	Refusal  *Refusal // why nothing changed; nil when it did
	Job      JobID
	Lease    LeaseID
	Attempt  AttemptNo
	Worker   string
	ID       string      // of the capability
	Repeat   bool        // it was done before: this is that answer
	Recorded bool        // FinishAttempt: this lease's own finish is what the attempt records
	Outcome  *pb.Outcome // what the attempt (or the job) records
	Events   []Event     // in order; also those that time alone brought, also beside a refusal
}

// Refusal says why a command, or a query, cannot be served: a value, not a
// failure.
type Refusal struct {
	Kind    Kind
	Message string // for people: what, on what, and what to do next
}

// Error gives the message.
func (r *Refusal) Error() string { return r.Message }

// Kind classifies refusals. The values are those of package reason.
type Kind string

// The kinds of refusal.
const (
	NotFound Kind = reason.NotFound // it never was
	Expired  Kind = reason.Expired  // it was, and retention has forgotten it
	Conflict Kind = reason.Conflict // the name or key means something else
	Fenced   Kind = reason.Fenced   // the lease is over, or another's
	Full     Kind = reason.Full     // a documented limit
	Invalid  Kind = reason.Invalid  // it can never succeed as it is
	TooOld   Kind = reason.TooOld   // the request key is older than the state remembers
	Refused  Kind = reason.Refused  // the state does not allow it now
)

func refusal(kind Kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

func refuse(kind Kind, format string, args ...any) Result {
	return Result{Refusal: refusal(kind, format, args...)}
}

// Event is one thing that happened while a command was applied.
type Event struct {
	Kind       EventKind
	Job        JobID
	Attempt    AttemptNo
	Lease      LeaseID
	Pool       string
	Worker     string
	Client     string
	Capability string
	Outcome    pb.OutcomeKind // AttemptEnded, JobSettled
	Message    string         // CancelRequested: the reason
}

// EventKind says what happened.
type EventKind uint8

// The kinds of event.
const (
	JobQueued          EventKind = iota + 1 // it is in the backlog: new, after back-off, or after its lease was revoked
	JobBackoff                              // it waits for its next attempt
	LeaseGranted                            // a worker holds it
	CancelRequested                         // it runs, and its worker should stop it
	AttemptEnded                            // its lease is over
	JobSettled                              // it is over
	LogSealed                               // the log of an attempt is complete
	LogMoved                                // a sealed log has other holders
	LogExpired                              // a log was given up to keep a byte budget
	JobTrimmed                              // it is forgotten
	WorkerRegistered                        // it is new, or changed
	WorkerForgotten                         // its name is free again
	PoolChanged                             // it is new, or has another configuration
	PoolDeleted                             // it takes no more jobs and workers
	ClientChanged                           // it is new, removed, or has another rate
	CapabilityCreated                       //
	CapabilityRevoked                       //
	WorkerPaused                            // it gets no new jobs any more, or again
	LeaderChanged                           // Message is the node that leads now
	WorkerConnected                         // its session has begun
	WorkerDisconnected                      // and is over; its leases may still hold
	JobMoved                                // it has another place in the backlog
	PermitFreed                             // an attempt that was over takes its concurrency key no longer
)

var eventNames = [...]string{
	JobQueued: "job-queued", JobBackoff: "job-backoff", LeaseGranted: "lease-granted",
	CancelRequested: "cancel-requested", AttemptEnded: "attempt-ended", JobSettled: "job-settled",
	LogSealed: "log-sealed", LogMoved: "log-moved", LogExpired: "log-expired", JobTrimmed: "job-trimmed",
	WorkerRegistered: "worker-registered", WorkerForgotten: "worker-forgotten",
	PoolChanged: "pool-changed", PoolDeleted: "pool-deleted", ClientChanged: "client-changed",
	CapabilityCreated: "capability-created", CapabilityRevoked: "capability-revoked", WorkerPaused: "worker-paused",
	LeaderChanged: "leader-changed", WorkerConnected: "worker-connected", WorkerDisconnected: "worker-disconnected",
	JobMoved: "job-moved", PermitFreed: "permit-freed",
}

// String gives the kind's name, as in "job-queued".
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("event-%d", uint8(k))
}
