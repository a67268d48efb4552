package executor

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/proto/pb"
)

// Measured counts attempts and their time by how they ended. reg may be nil.
func Measured(next Executor, reg prometheus.Registerer) Executor {
	return measured{next, newMetrics(reg)}
}

type measured struct {
	next    Executor
	metrics *metrics
}

func (e measured) Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error) {
	e.metrics.running.Inc()
	defer e.metrics.running.Dec()
	began := time.Now()
	outcome, err := e.next.Run(ctx, t, out)
	e.metrics.seconds.WithLabelValues(label(outcome, err)).Observe(time.Since(began).Seconds())
	return outcome, err
}

func label(o *pb.Outcome, err error) string {
	switch {
	case errors.Is(err, ErrFenced):
		return "fenced"
	case err != nil:
		return "worker_error"
	default:
		return strings.ToLower(strings.TrimPrefix(o.GetKind().String(), "OUTCOME_"))
	}
}
