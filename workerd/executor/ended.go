package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// The causes with which an attempt's context ends.
var (
	// ErrCancelled: somebody asked for it; processes get SIGTERM and a grace period.
	ErrCancelled = errors.New("job cancelled")
	// ErrFenced: the lease is over and may be another worker's; killed at once.
	ErrFenced = errors.New("the lease is over: another worker may run this job now")
	// ErrKilled: the worker was told to stop without waiting; killed at once.
	ErrKilled = errors.New("the worker was told to stop at once")
	// ErrUnrenewed: the cluster may think that the worker is lost, and a job with the
	// same concurrency key must not run beside this one; killed at once.
	ErrUnrenewed = errors.New("contact with the cluster was lost, and a job with a concurrency key must not run without")
)

// TimeLimitError is the cause with which Timed ends a context.
type TimeLimitError struct{ Limit time.Duration }

func (e *TimeLimitError) Error() string {
	return fmt.Sprintf("time limit of %s reached", e.Limit)
}

// Ended says what an executor returns for an attempt that it stopped because ctx
// was done: an outcome where somebody wanted the end, else the cause as an error.
func Ended(ctx context.Context) (*pb.Outcome, error) {
	cause := context.Cause(ctx)
	var limit *TimeLimitError
	switch {
	case errors.Is(cause, ErrCancelled):
		return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_CANCELLED, Message: "cancelled"}, nil
	case errors.As(cause, &limit):
		return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_TIMED_OUT, Message: limit.Error()}, nil
	default:
		return nil, fmt.Errorf("attempt stopped: %w", cause)
	}
}

// Grace is the time that the processes of an attempt get between SIGTERM and
// SIGKILL: polite where somebody wanted the end, none where every moment counts.
func Grace(cause error, polite time.Duration) time.Duration {
	var limit *TimeLimitError
	if errors.Is(cause, ErrCancelled) || errors.As(cause, &limit) {
		return polite
	}
	return 0
}

// maxMessage is the longest Outcome.message in bytes.
const maxMessage = 1024

// Failed is the outcome of a build that failed for a reason of its own: a bad
// context, a program that is not there. It cuts a long message.
func Failed(format string, args ...any) *pb.Outcome {
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED, Message: oneLine(fmt.Sprintf(format, args...))}
}
