package session

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/reason"
)

// RefusedError says that the cluster will never let this worker in as it is: its
// capability is unknown, revoked or for another pool, it is of another cluster or
// too old. Reason is one of package reason's.
type RefusedError struct {
	Reason string
	Err    error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the cluster refuses this worker: %v", e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// verdict is what an error of a session means for the next try.
type verdict int

const (
	passing  verdict = iota // it may work the next moment, or elsewhere
	lasting                 // only time or an operator can lift it
	hopeless                // it can never work, if every node says so
)

func judge(err error) verdict {
	switch client.Reason(err) {
	case reason.Unauthenticated, reason.Denied, reason.Invalid, reason.WrongCluster, reason.Upgrade:
		return hopeless
	case reason.Conflict, reason.Refused, reason.NotFound, reason.Expired, reason.TooOld, reason.Fenced:
		return lasting
	case reason.NoLeader, reason.Empty, reason.UnknownOutcome, reason.Busy, reason.Full, reason.Interrupted:
		return passing
	}
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return hopeless
	case codes.InvalidArgument, codes.Unimplemented, codes.FailedPrecondition, codes.AlreadyExists, codes.NotFound:
		return lasting
	}
	return passing
}

// text is what an operator should read of an error, on one line.
func text(err error) string {
	said := err.Error()
	var d *dialError
	if s := mtls.Explain(err); s != "" && errors.As(err, &d) {
		said = d.addr + ": " + s
	} else if s, ok := status.FromError(err); ok {
		said = s.Message()
	}
	return strings.ReplaceAll(strings.TrimSpace(said), "\n", "; ")
}

// hope runs out after several hopeless answers in a row. One alone may come from
// a node that is only just catching up.
type hope struct {
	first   time.Time
	answers int
}

const (
	hopelessAnswers = 3
	hopelessFor     = 5 * time.Second
	hopelessPause   = 2 * time.Second
)

func (h *hope) renew() { *h = hope{} }

// lost counts one more hopeless answer and reports whether it was the last.
func (h *hope) lost(now time.Time) bool {
	if h.answers == 0 {
		h.first = now
	}
	h.answers++
	return h.answers >= hopelessAnswers && now.Sub(h.first) >= hopelessFor
}

// pauseRefused is the wait after the nth refusal in a row that only time can
// lift: short at first, for leases that must be renewed meanwhile.
func pauseRefused(n int) time.Duration {
	if n <= soonRetries {
		return jitter(slowest)
	}
	return jitter(slowPause)
}

const soonRetries = 5

// pacer lets the same news through once in a while.
type pacer struct {
	last map[string]time.Time
}

const (
	repeatNews = 30 * time.Second
	maxNews    = 256
)

func (p *pacer) fresh(news string, now time.Time) bool {
	if last, ok := p.last[news]; ok && now.Sub(last) < repeatNews {
		return false
	}
	if p.last == nil || len(p.last) >= maxNews {
		p.last = map[string]time.Time{}
	}
	p.last[news] = now
	return true
}
