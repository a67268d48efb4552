package journal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
)

// fileName is the journal's file in the state directory.
const fileName = "journal"

// ErrOver is what Finish returns for a lease that is settled already or was
// never begun: nobody wants its result.
var ErrOver = errors.New("the lease is over")

// ErrClosed is what every write after Close returns.
var ErrClosed = errors.New("the journal is closed")

// Journal is one worker's journal. Its methods may be called at the same time.
type Journal struct {
	dir    string
	log    hclog.Logger
	synced func(time.Duration) // told how long each flush took
	sync   func(*os.File) error

	mu       sync.Mutex
	flushed  sync.Cond // a flush has ended
	state    *state
	pending  []byte // encoded records of the next flush
	round    *round // that flush
	flushing bool
	closed   bool
	err      error // of the last flush; the next one writes the file anew
	file     *os.File
	size     int64
	kept     int64 // the file has its blocks up to here
	compact  int64 // rewrite the file above this size
}

// round is one write and fsync, shared by all whose records are in it.
type round struct {
	done bool
	err  error
}

// Lease is what a worker was given: a number that never comes again, for one
// attempt of a job.
type Lease struct {
	Number  uint64
	Job     uint64
	Attempt uint32
}

// Result is an attempt's end that the cluster has not acknowledged.
type Result struct {
	Lease   uint64
	Outcome *pb.Outcome
}

// Options are what a journal may be told.
type Options struct {
	Logger hclog.Logger
	Synced func(time.Duration)  // told how long each flush took; nil: nobody is
	Sync   func(*os.File) error // brings a file's data to the disk; nil: fdatasync
}

// Open reads the journal of a state directory, which it expects to be locked, or
// begins one. It repairs what a crash left and logs what damage it found.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{dir: dir, log: o.Logger, synced: o.Synced, sync: o.Sync, round: new(round)}
	if j.synced == nil {
		j.synced = func(time.Duration) {}
	}
	if j.sync == nil {
		j.sync = Fdatasync
	}
	j.flushed.L = &j.mu
	if err := j.load(); err != nil {
		return nil, fmt.Errorf("open journal %q: %w", j.path(), err)
	}
	return j, nil
}

func (j *Journal) path() string { return filepath.Join(j.dir, fileName) }

// Begin notes that a lease was given to this worker. fresh is false when its
// number has been seen before; then nothing must be started. The number is safe
// once the ticket's Wait has returned nil, and so are all that were begun before.
func (j *Journal) Begin(l Lease) (t Ticket, fresh bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state.seen(l.Number) {
		return Ticket{}, false
	}
	r, _ := j.append(record{kind: kindSeen, lease: l.Number, job: l.Job, attempt: l.Attempt}) // only outcomes can fail to encode
	return Ticket{j, r}, true
}

// Ticket stands for a record on its way to the disk.
type Ticket struct {
	j     *Journal
	round *round
}

// Wait blocks until the record is on the disk.
func (t Ticket) Wait() error { return t.j.wait(t.round) }

// Finish stores the outcome of a lease until Settle, and returns once it is on
// the disk. The first outcome stays. When the disk refuses, the result is still
// in [Journal.Results], and every later flush tries to store it again.
func (j *Journal) Finish(lease uint64, outcome *pb.Outcome) error {
	j.mu.Lock()
	if !has(j.state.open, lease) {
		stored := has(j.state.results, lease)
		j.mu.Unlock()
		if stored {
			return nil
		}
		return ErrOver
	}
	r, err := j.append(record{kind: kindResult, lease: lease, outcome: outcome})
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.wait(r)
}

// Settle forgets a lease's result: the cluster has acknowledged or fenced it. It
// does not wait for the disk; should the note get lost, the result is reported
// once more, which does no harm.
func (j *Journal) Settle(leases ...uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, lease := range leases {
		if has(j.state.open, lease) || has(j.state.results, lease) {
			_, _ = j.append(record{kind: kindSettled, lease: lease}) // only outcomes can fail to encode
		}
	}
}

// Unfinished returns the leases that were begun and have no result, in order.
// Right after Open these are the ones a restart interrupted.
func (j *Journal) Unfinished() []Lease {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.SortedFunc(maps.Values(j.state.open), func(a, b Lease) int { return cmp.Compare(a.Number, b.Number) })
}

// Results returns what has not been acknowledged, in order of the leases.
func (j *Journal) Results() []Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]Result, 0, len(j.state.results))
	for lease, outcome := range j.state.results {
		all = append(all, Result{lease, outcome})
	}
	slices.SortFunc(all, func(a, b Result) int { return cmp.Compare(a.Lease, b.Lease) })
	return all
}

// Result returns the stored outcome of a lease, or nil.
func (j *Journal) Result(lease uint64) *pb.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.results[lease]
}

// Waiting counts the results that are not acknowledged.
func (j *Journal) Waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.state.results)
}

// Highest returns the highest lease ever begun, 0 when there was none.
func (j *Journal) Highest() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.highest
}

// Err returns why the last flush failed, nil when it did not.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Sync returns once all that was noted before it is on the disk.
func (j *Journal) Sync() error {
	j.mu.Lock()
	idle := len(j.pending) == 0 && !j.flushing && j.err == nil
	r := j.round
	j.mu.Unlock()
	if idle {
		return nil
	}
	return j.wait(r)
}

// Close stores what is still in memory and closes the file.
func (j *Journal) Close() error {
	err := j.Sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	return errors.Join(err, j.file.Close())
}
