package api

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/lead"
)

// reasonCodes says under which code each reason travels.
var reasonCodes = map[string]codes.Code{
	reason.NotFound:        codes.NotFound,
	reason.Expired:         codes.NotFound,
	reason.Conflict:        codes.AlreadyExists,
	reason.Fenced:          codes.Aborted,
	reason.Full:            codes.ResourceExhausted,
	reason.Invalid:         codes.InvalidArgument,
	reason.TooOld:          codes.FailedPrecondition,
	reason.Refused:         codes.FailedPrecondition,
	reason.Unauthenticated: codes.Unauthenticated,
	reason.Denied:          codes.PermissionDenied,
	reason.NoLeader:        codes.Unavailable,
	reason.Empty:           codes.Unavailable,
	reason.Busy:            codes.Unavailable,
	reason.Interrupted:     codes.Unavailable,
	reason.UnknownOutcome:  codes.Unavailable,
	reason.WrongCluster:    codes.FailedPrecondition,
	reason.Upgrade:         codes.FailedPrecondition,
}

// reasonsBelow says what the errors of the layers below mean to a caller. An unknown
// outcome comes first: its cause, which it wraps, may read as if nothing had
// happened.
var reasonsBelow = []struct {
	err    error
	reason string
}{
	{raftnode.ErrUnknownOutcome, reason.UnknownOutcome},
	{raftnode.ErrNotLeader, reason.NoLeader},
	{raftnode.ErrClosed, reason.NoLeader},
	{raftnode.ErrBusy, reason.Busy},
	{lead.ErrInterrupted, reason.Interrupted},
	{raftnode.ErrTooLarge, reason.Invalid},
	{raftnode.ErrRefused, reason.Refused},
	{raftnode.ErrNoMember, reason.NotFound},
	{raftnode.ErrWrongCluster, reason.WrongCluster},
}

// reasonFor returns the reason of an error, "" when it has none.
func reasonFor(err error) string {
	if r, ok := errors.AsType[*fsm.Refusal](err); ok {
		return string(r.Kind)
	}
	for _, r := range reasonsBelow {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	if s, ok := status.FromError(err); ok {
		for _, d := range s.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == reason.Domain {
				return info.Reason
			}
		}
	}
	return ""
}

// Status returns the gRPC status that err travels as. It is the only place
// that chooses one.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok && s.Code() != codes.Unknown {
		return s.Err()
	}
	name := reasonFor(err)
	if code, ok := reasonCodes[name]; ok {
		return withReason(code, name, err.Error())
	}
	switch {
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	default:
		return status.Error(codes.Internal, err.Error())
	}
}

func withReason(code codes.Code, name, message string) error {
	s := status.New(code, message)
	detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: name, Domain: reason.Domain})
	if err != nil { // only for the code OK
		return s.Err()
	}
	return detailed.Err()
}

// mayRepeat reports whether a call that ended with err has certainly changed
// nothing, so that another leader may be asked.
func mayRepeat(err error) bool {
	why := reasonFor(err)
	return why == reason.NoLeader || why == reason.Empty
}
