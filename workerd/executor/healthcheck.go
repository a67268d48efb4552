package executor

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/weirbuild/weir/proto/pb"
)

// Checked is an executor that can be tried out.
type Checked interface {
	Executor
	// Healthcheck builds something trivial, without any repository or registry. An
	// error says what is broken. Only one runs at a time.
	Healthcheck(ctx context.Context) error
}

// HealthcheckLease is the lease of trivial builds. No job has it.
const HealthcheckLease = math.MaxUint64

// Healthcheck runs a trivial job: an outcome that is no success is an error too.
func Healthcheck(ctx context.Context, spec *pb.JobSpec, run func(context.Context, Task, io.Writer) (*pb.Outcome, error)) error {
	o, err := run(ctx, Task{Lease: HealthcheckLease, Job: "healthcheck", Attempt: 1, Spec: spec}, io.Discard)
	if err == nil && o.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		err = errors.New(o.GetMessage())
	}
	return err
}
