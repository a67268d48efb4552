package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// Logged begins a log with the worker's name and ends it with how the attempt
// went, each on a line of its own.
func Logged(next Executor, worker string) Executor { return logged{next, worker} }

type logged struct {
	next   Executor
	worker string
}

func (e logged) Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error) {
	log := &lineWriter{to: out, atStart: true}
	if err := log.line("Building on " + e.worker); err != nil {
		return nil, fmt.Errorf("write log: %w", err)
	}
	outcome, err := e.next.Run(ctx, t, log)
	if logErr := log.line(lastLine(outcome, err)); logErr != nil {
		return nil, errors.Join(err, fmt.Errorf("write log: %w", logErr))
	}
	return outcome, err
}

func lastLine(o *pb.Outcome, err error) string {
	switch {
	case err != nil:
		return "Job stopped by its worker: " + oneLine(err.Error())
	case o.GetKind() == pb.OutcomeKind_OUTCOME_SUCCEEDED:
		return "Job succeeded"
	case o.GetKind() == pb.OutcomeKind_OUTCOME_CANCELLED:
		return "Job cancelled"
	default:
		return strings.TrimSuffix("Job failed: "+oneLine(o.GetMessage()), ": ")
	}
}

// oneLine makes text fit a single line of the log and of an outcome.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if len(s) > maxMessage {
		s = s[:maxMessage-len("...")] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// lineWriter knows whether what it writes next begins a line.
type lineWriter struct {
	to      io.Writer
	atStart bool
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if n > 0 {
		w.atStart = p[n-1] == '\n'
	}
	return n, err
}

func (w *lineWriter) line(s string) error {
	if !w.atStart {
		s = "\n" + s
	}
	_, err := io.WriteString(w, s+"\n")
	return err
}
