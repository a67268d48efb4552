// Package executor says what it is to run an attempt of a job, and layers the
// behaviour that every kind of job shares over that one interface: a time limit,
// a log limit, and the first and last line of the log.
//
// It promises that an Executor tells a failed build (an Outcome) from a broken
// worker (an error). It refuses to know how any kind of job is run, and to decide
// anything about leases: it is told why an attempt must end by the context's cause.
package executor

import (
	"context"
	"io"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// Task is one attempt at one job.
type Task struct {
	Lease   uint64 // never repeats in the life of a cluster
	Job     string // the job's printed id
	Attempt int    // from 1
	Pool    string
	Spec    *pb.JobSpec

	TimeLimit time.Duration // of this attempt, the pool's default filled in; 0: none
	LogLimit  int64         // bytes of output kept; 0: DefaultLogLimit

	Secrets map[string][]byte // by id; in no log, file on a disk, argument or variable

	// Kill, once closed, ends every grace period: what is still alive is killed
	// at once. It matters only after the context is done; nil never does.
	Kill <-chan struct{}
}

// Executor runs attempts. One value serves many attempts at the same time.
type Executor interface {
	// Run blocks until the attempt ends and none of its processes is left. out
	// gets the log as it comes, in order, one Write at a time.
	//
	// A nil error comes with the outcome of the build, a failed one included. An
	// error says that the worker could not run it ("we broke"). When ctx is done
	// the attempt is stopped, and Ended(ctx) says what to return.
	Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error)
}

// Standard gives next everything that each kind of job has: its log begins with
// the worker's name and ends with how it went, its time and its log are limited, and
// neither its log nor its outcome shows a secret of the job.
func Standard(next Executor, worker string) Executor {
	return Masked(Logged(Timed(Limited(next)), worker))
}

// Refuse runs nothing: every attempt ends with the outcome.
func Refuse(o *pb.Outcome) Executor { return refuse{o} }

type refuse struct{ outcome *pb.Outcome }

func (e refuse) Run(context.Context, Task, io.Writer) (*pb.Outcome, error) { return e.outcome, nil }
