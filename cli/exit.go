package cli

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitBuildFailed = 1   // the build failed or ran into its time limit
	exitUsage       = 2   // the command line or a file it names is wrong
	exitUnreachable = 3   // no node, or no quorum, answered in time
	exitRefused     = 4   // the cluster said no: its message says why
	exitCancelled   = 5   // the build was cancelled
	exitLost        = 6   // every attempt was lost with its worker
	exitInternal    = 7   // anything else
	exitIncomplete  = 8   // the log is not complete
	exitInterrupted = 130 // as a shell says it of Ctrl-C
)

const exitHelp = `Exit codes:
  0  success
  1  the build failed, or ran into its time limit
  2  the command line, or a file that it names, is wrong
  3  no node could be reached, or the cluster has no quorum
  4  the cluster refused: the message says why
  5  the build was cancelled
  6  the build was lost: every attempt ended with its worker
  7  anything else
  8  the log that was asked for is not complete: the message says who has the rest
130  weir logs was interrupted, by Ctrl-C or SIGTERM`

// codedError carries its own exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// quietError has been told to the user already.
type quietError struct{ error }

func usageError(format string, args ...any) error {
	return &codedError{exitUsage, fmt.Errorf(format, args...)}
}

// outcomeError turns a settled job into the command's end.
func outcomeError(o *pb.Outcome) error {
	code := exitBuildFailed
	switch o.GetKind() {
	case pb.OutcomeKind_OUTCOME_SUCCEEDED:
		return nil
	case pb.OutcomeKind_OUTCOME_CANCELLED:
		code = exitCancelled
	case pb.OutcomeKind_OUTCOME_LOST, pb.OutcomeKind_OUTCOME_WORKER_LOST, pb.OutcomeKind_OUTCOME_WORKER_RESTARTED,
		pb.OutcomeKind_OUTCOME_WORKER_REVOKED, pb.OutcomeKind_OUTCOME_WORKER_ERROR:
		code = exitLost
	}
	return &codedError{code, &quietError{fmt.Errorf("build ended: %s", o.GetMessage())}}
}

func exitCode(err error) int {
	var coded *codedError
	var down *client.UnavailableError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &down):
		return exitUnreachable
	case client.Reason(err) != "":
		return refusedOrDown(err)
	case errors.Is(err, context.Canceled):
		return exitCancelled
	}
	return exitInternal
}

func refusedOrDown(err error) int {
	if status.Code(err) == codes.Unavailable {
		return exitUnreachable
	}
	return exitRefused
}

// message is the text of an error without the transport's wrapping.
func message(err error) string {
	var coded *codedError
	if errors.As(err, &coded) {
		return err.Error()
	}
	return client.Message(err)
}
