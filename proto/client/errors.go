package client

import (
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/reason"
)

// Reason is why the cluster refused a call, as package reason names it, or ""
// when err does not come from a node.
func Reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == reason.Domain {
			return info.Reason
		}
	}
	return ""
}

// Message is the text of err for people, without the transport's wrapping.
func Message(err error) string {
	var down *UnavailableError
	if errors.As(err, &down) {
		return down.Error()
	}
	inner, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return err.Error()
	}
	// What was wrapped around the node's words stays.
	return strings.Replace(err.Error(), inner.Error(), inner.GRPCStatus().Message(), 1)
}

// Refused says whether the cluster has decided against a call: nothing happened,
// and the same call again would be refused again.
func Refused(err error) bool {
	switch Reason(err) {
	case "", reason.NoLeader, reason.Empty, reason.Busy, reason.UnknownOutcome:
		return false
	}
	return true
}
