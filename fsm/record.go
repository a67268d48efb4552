package fsm

import (
	"crypto/sha256"
	"strconv"

	"github.com/weirbuild/weir/proto/pb"
)

// JobID numbers jobs, from 1, without gaps.
type JobID uint64

// String gives the decimal number.
func (id JobID) String() string { return strconv.FormatUint(uint64(id), 10) }

// LeaseID numbers leases: the epoch above a counter, so that it only grows, also
// over a restore from backup.
type LeaseID uint64

const leaseCounterBits = 44

// String gives the decimal number.
func (id LeaseID) String() string { return strconv.FormatUint(uint64(id), 10) }

// AttemptNo numbers the attempts of one job, from 1.
type AttemptNo uint32

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// Job is one job. Everything in it is read only, the slices' contents included.
type Job struct {
	ID         JobID
	Pool       string
	Client     string
	Spec       []byte // a marshalled pb.JobSpec, as it was submitted
	SpecSHA256 Digest
	Sealed     []byte // the box of its secrets; nil: it has none, or is settled
	RequestKey string // empty: it was submitted without one
	Hint       string // cache hint; empty: none
	Labels     []Label
	Slots      uint32 // at least 1
	Urgent     bool

	Concurrency string  // key; empty: it may run beside any other job
	AtMost      uint32  // so many jobs with that key run at once
	Priority    uint32  // among the waiting jobs of its client
	RetryExits  []int32 // exit codes after which it is tried again; sorted

	State     pb.JobState
	Submitted int64 // ms, as all times here
	FairStart int64
	Charge    int64   // by how much it moved its client's share
	WaitLimit int64   // of each stretch of waiting, in ms; 0: none
	NotBefore int64   // in back-off: when it returns to the backlog
	Lease     LeaseID // running: of the last of Attempts; else 0
	Failures  uint32  // attempts that count against the pool's limit
	Attempts  []Attempt
	Cancel    *Cancellation // asked for while it ran; nil: not
	Settled   int64
	Outcome   *pb.Outcome // settled: how
}

// Label is one property of a worker that a job may ask for.
type Label struct{ Name, Value string }

// Cancellation is a request to end a running job.
type Cancellation struct{ Reason string }

// Attempt is one lease's life. The newest MaxAttempts are kept of each job.
type Attempt struct {
	No      AttemptNo
	Lease   LeaseID
	Worker  string
	Key     Digest // of the instance key that the worker had registered
	Started int64
	Ended   int64       // 0: it runs
	Outcome *pb.Outcome // nil: it runs
	Log     *pb.LogInfo // nil: not sealed
	Cached  bool        // the worker was known to have the job's hint
	Leash   int64       // ms without an acknowledged renewal after which the worker kills it; 0: it does not
	Held    bool        // its lease is over, and it still takes its concurrency key
}

// Running says whether a worker holds the job.
func (j *Job) Running() bool { return j.State == pb.JobState_JOB_STATE_RUNNING }

// Waiting says whether the job is in the backlog or in back-off.
func (j *Job) Waiting() bool {
	return j.State == pb.JobState_JOB_STATE_QUEUED || j.State == pb.JobState_JOB_STATE_BACKOFF
}

// Last is the newest attempt; nil before the first.
func (j *Job) Last() *Attempt {
	if len(j.Attempts) == 0 {
		return nil
	}
	return &j.Attempts[len(j.Attempts)-1]
}

// Worker names who runs, or last ran, the job; empty before the first attempt.
func (j *Job) Worker() string {
	if a := j.Last(); a != nil {
		return a.Worker
	}
	return ""
}

// Attempt finds an attempt by its number; 0 is the newest.
func (j *Job) Attempt(no AttemptNo) (*Attempt, bool) {
	for i := range j.Attempts {
		if a := &j.Attempts[len(j.Attempts)-1-i]; no == 0 || a.No == no {
			return a, true
		}
	}
	return nil, false
}

// HeldBy says whether the worker of the job's pool that has this name and
// registered this instance key (its SHA-256) holds, or held, the attempt.
func (a *Attempt) HeldBy(worker string, keySHA256 []byte) bool {
	return a.Worker == worker && string(a.Key[:]) == string(keySHA256)
}

// Pool is a named group of workers with one backlog.
type Pool struct {
	Name    string
	Config  *pb.PoolConfig // as the operator gave it; Limits resolves the defaults
	Created int64
	Queued  int // in the backlog
	Backoff int
	Running int
	Settled int
	Workers int    // registered
	Hints   int    // (hint, worker) pairs known
	Costs   int    // measured durations kept
	Pause   *Pause // nil: its jobs may start

	deleted bool // only its finished jobs are left

	batch uint64 // in which this record was made: until it ends nobody else has it
}

// Worker is a registered worker: a name of a pool, bound to an instance key.
type Worker struct {
	Pool      string
	Name      string
	Key       Digest // SHA-256 of the instance key
	Slots     uint32
	Used      uint32 // slots taken by its leases
	Leases    int
	Labels    []Label // sorted by name
	Version   string
	FirstSeen int64
	Pause     *Pause // nil: it may have new jobs

	Capability string // id of the one that it came with last; empty: unknown

	batch uint64 // as Pool's
}

// Free is the number of slots that no lease takes.
func (w *Worker) Free() uint32 {
	if w.Used >= w.Slots {
		return 0
	}
	return w.Slots - w.Used
}

// Client is who submits.
type Client struct {
	Name    string
	Rate    float64 // jobs it expects to run at once
	Created int64

	MaxRunning int // in each pool; 0: as the pool says
}

// Share is what one client has in one pool.
type Share struct {
	Pool    string
	Client  string
	Next    int64 // the fair start time of its next job, when that is in the future
	Waiting int   // jobs in the backlog and in back-off
	Running int

	UrgentSince int64 // where urgent jobs are limited: when the hour began in which they are counted
	Urgents     int64
	Hour        *urgentHour // where any hour counts; nil: none are known

	batch uint64 // as Pool's
}

// Capability is what the cluster keeps of one: the hash of its secret.
type Capability struct {
	ID      string
	Kind    pb.CapabilityKind
	Client  string
	Pools   []string // sorted; empty: every pool
	Note    string
	Token   Digest
	Created int64
	Revoked int64 // 0: it is good

	number uint64
}

// Hint says that a worker has built with a cache hint.
type Hint struct {
	Pool   string
	Hint   string
	Worker string
	Used   int64
}

// Cost is what builds were measured to take: those of one hint, or those of one
// client, with a hint or without (Plain).
type Cost struct {
	Pool     string
	Client   string
	Hint     string
	Plain    bool
	Cached   int64 // decayed averages in ms; 0: not measured
	Uncached int64
	Used     int64
}

// requestKey remembers a submit, whatever becomes of its job.
type requestKey struct {
	client string
	id     string
	pool   string
	job    JobID
	spec   Digest
	made   int64
}
