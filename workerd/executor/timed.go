package executor

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/weirbuild/weir/proto/pb"
)

// Timed stops an attempt when its time limit is over. The log gets a line at
// that moment, and the outcome is TIMED_OUT unless the build had already ended.
func Timed(next Executor) Executor { return timed{next} }

type timed struct{ next Executor }

func (e timed) Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error) {
	if t.TimeLimit <= 0 {
		return e.next.Run(ctx, t, out)
	}
	limit := &TimeLimitError{Limit: t.TimeLimit}
	ctx, cancel := context.WithTimeoutCause(ctx, t.TimeLimit, limit)
	defer cancel()

	log := &sharedWriter{to: out}
	said := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(said)
		if context.Cause(ctx) == limit {
			// A log that cannot be written fails the attempt at its next write.
			_, _ = fmt.Fprintf(log, "\nTime limit of %s reached: stopping the job\n", t.TimeLimit)
		}
	})
	outcome, err := e.next.Run(ctx, t, log)
	if !stop() {
		<-said
	}
	return outcome, err
}

// sharedWriter lets the build's output and our own lines meet in one log.
type sharedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (w *sharedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
