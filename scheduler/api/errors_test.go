package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/lead"
)

func TestStatus(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		code   codes.Code
		reason string
	}{
		"refusal":             {&fsm.Refusal{Kind: fsm.Full, Message: "m"}, codes.ResourceExhausted, reason.Full},
		"wrapped refusal":     {fmt.Errorf("op: %w", &fsm.Refusal{Kind: fsm.Expired, Message: "m"}), codes.NotFound, reason.Expired},
		"not leader":          {fmt.Errorf("x: %w", raftnode.ErrNotLeader), codes.Unavailable, reason.NoLeader},
		"stopping":            {raftnode.ErrClosed, codes.Unavailable, reason.NoLeader},
		"unknown outcome":     {fmt.Errorf("%w: %w", raftnode.ErrUnknownOutcome, context.DeadlineExceeded), codes.Unavailable, reason.UnknownOutcome},
		"busy":                {raftnode.ErrBusy, codes.Unavailable, reason.Busy},
		"interrupted":         {fmt.Errorf("silent: %w", lead.ErrInterrupted), codes.Unavailable, reason.Interrupted},
		"too large":           {raftnode.ErrTooLarge, codes.InvalidArgument, reason.Invalid},
		"membership":          {fmt.Errorf("%w: only voter", raftnode.ErrRefused), codes.FailedPrecondition, reason.Refused},
		"no member":           {raftnode.ErrNoMember, codes.NotFound, reason.NotFound},
		"deadline":            {context.DeadlineExceeded, codes.DeadlineExceeded, ""},
		"cancelled":           {fmt.Errorf("x: %w", context.Canceled), codes.Canceled, ""},
		"anything else":       {errors.New("disk on fire"), codes.Internal, ""},
		"a status":            {status.Error(codes.Unimplemented, "no"), codes.Unimplemented, ""},
		"a status of another": {Status(&fsm.Refusal{Kind: fsm.Fenced, Message: "m"}), codes.Aborted, reason.Fenced},
	} {
		t.Run(name, func(t *testing.T) {
			err := Status(c.err)
			if got := status.Code(err); got != c.code {
				t.Errorf("code %v, want %v", got, c.code)
			}
			if got := reasonFor(err); got != c.reason {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			if c.reason != "" {
				info := status.Convert(err).Details()[0].(*errdetails.ErrorInfo)
				if info.Domain != reason.Domain {
					t.Errorf("domain %q", info.Domain)
				}
			}
		})
	}
	if Status(nil) != nil {
		t.Error("nil is an error")
	}
}

// A reason that is added to the contract must be given a code here.
func TestEveryReasonHasACode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../proto/reason/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || spec.Names[0].Name == "Domain" || len(spec.Names[0].Name) > 4 && spec.Names[0].Name[:4] == "Meta" {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if _, ok := reasonCodes[value]; !ok {
			t.Errorf("reason %q has no code", value)
		}
		return true
	})
	if found != len(reasonCodes) {
		t.Errorf("%d reasons in the contract, %d have codes", found, len(reasonCodes))
	}
}

func TestMayRepeatOnlyWhatChangedNothing(t *testing.T) {
	for err, want := range map[error]bool{
		raftnode.ErrNotLeader: true, raftnode.ErrClosed: true, raftnode.ErrUnknownOutcome: false, raftnode.ErrBusy: false,
		fmt.Errorf("%w: %w", raftnode.ErrUnknownOutcome, raftnode.ErrClosed): false, fmt.Errorf("%w: %w", raftnode.ErrUnknownOutcome, raftnode.ErrNotLeader): false,
		errors.New("x"): false, Status(raftnode.ErrNotLeader): true, Status(raftnode.ErrUnknownOutcome): false,
	} {
		if mayRepeat(err) != want {
			t.Errorf("%v may be repeated: %v", err, !want)
		}
	}
}

func TestWhatAFailedConnectionMeans(t *testing.T) {
	lost := status.Error(codes.Unavailable, "connection refused")
	for name, c := range map[string]struct {
		err      error
		harmless bool
		want     string
	}{
		"read":                  {lost, true, reason.NoLeader},
		"write":                 {lost, false, reason.UnknownOutcome},
		"write that timed out":  {status.Error(codes.DeadlineExceeded, "late"), false, reason.UnknownOutcome},
		"the leader's own word": {Status(raftnode.ErrUnknownOutcome), true, reason.UnknownOutcome},
		"the leader is busy":    {Status(raftnode.ErrBusy), false, reason.Busy},
		"refusal":               {Status(&fsm.Refusal{Kind: fsm.Conflict}), false, reason.Conflict},
		"not about this":        {status.Error(codes.Internal, "x"), false, ""},
	} {
		if got := reasonFor(fromLeader(c.err, c.harmless)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
