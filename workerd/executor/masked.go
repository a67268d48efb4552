package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/mask"
)

// Masked keeps the values of a job's secrets out of its log, its outcome and its
// errors.
func Masked(next Executor) Executor { return masked{next} }

type masked struct{ next Executor }

func (e masked) Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error) {
	if len(t.Secrets) == 0 {
		return e.next.Run(ctx, t, out)
	}
	values := slices.Collect(maps.Values(t.Secrets))
	log := mask.New(out, values...)
	outcome, err := e.next.Run(ctx, t, log)
	if logErr := log.Flush(); logErr != nil {
		err = errors.Join(err, fmt.Errorf("write log: %w", logErr))
	}
	if outcome != nil {
		outcome = proto.CloneOf(outcome)
		outcome.Message = mask.String(outcome.Message, values...)
		outcome.Output = mask.String(outcome.Output, values...)
	}
	if err != nil {
		err = &maskedError{mask.String(err.Error(), values...), err}
	}
	return outcome, err
}

// maskedError is an error whose text shows no secret.
type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }
