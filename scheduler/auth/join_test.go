package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/pb"
)

// A node that fails to join asks four times a second: the log has the first few
// failures, and a count of the rest. Other changes that fail are all there.
func TestFailedJoinsDoNotFillTheLog(t *testing.T) {
	f := newFixture(t)
	ctx := With(context.Background(), Identity{Kind: Node, Node: "n4", Remote: "192.0.2.4:7000"})
	fail := func(method string) {
		_, err := f.guard.Audit(ctx, &pb.JoinRequest{}, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
			return nil, errors.New("its clock is wrong")
		})
		if err == nil {
			t.Fatal("the failure is lost")
		}
	}
	for range 40 {
		fail(pb.Membership_Join_FullMethodName)
	}
	if n := strings.Count(f.audit.String(), "change failed"); n != paceBurst {
		t.Errorf("%d lines for 40 failed joins, want %d", n, paceBurst)
	}
	f.guard.tellMore(time.Now().Add(paceWindow))
	if text := f.audit.String(); !strings.Contains(text, "more=35") || !strings.Contains(text, "its clock is wrong") {
		t.Errorf("the rest is not counted:\n%s", text)
	}
	for range 10 {
		fail(pb.Membership_RemoveMember_FullMethodName)
	}
	if n := strings.Count(f.audit.String(), "change failed"); n != paceBurst+10 {
		t.Errorf("%d lines, want %d", n, paceBurst+10)
	}
}
