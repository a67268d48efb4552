package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// A stream ends when its capability is revoked, although its handler is blocked
// receiving from a client that says nothing.
func TestRevocationEndsStreams(t *testing.T) {
	for name, revoke := range map[string]func(*Guard, string){
		"event":       func(g *Guard, id string) { g.Revoked(id) },
		"lost events": func(g *Guard, _ string) { g.Sweep() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c := &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "ci"}
			token, id := f.state.grant(t, c)
			other, _ := f.state.grant(t, c)
			client := pb.NewJobServiceClient(f.conn(t, nil))
			open := func(ctx int) pb.JobService_SubmitStreamClient {
				use := token
				if ctx == 1 {
					use = other
				}
				s, err := client.SubmitStream(with(t, use))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Send(&pb.SubmitRequest{Pool: "wait"}); err != nil {
					t.Fatal(err)
				}
				return s
			}
			mine := open(0)
			handler := <-f.sent
			theirs := open(1)
			stays := <-f.sent

			f.state.revoke(t, id)
			begun := time.Now()
			revoke(f.guard, id)
			if _, err := mine.Recv(); err == nil || !strings.Contains(err.Error(), "capability "+id+" was revoked") {
				t.Errorf("the stream ended with %v", err)
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("it took %v", took)
			}
			<-handler.Done()
			if stays.Err() != nil {
				t.Error("another capability's stream has ended too")
			}
			if err := theirs.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(f.audit.String(), "streams ended: capability="+id) {
				t.Errorf("no audit line in %q", f.audit)
			}
			f.guard.Sweep() // forgets nothing that is good
			if n := len(f.guard.streams.holders()); n > 1 {
				t.Errorf("%d capabilities have streams", n)
			}
		})
	}
}

// A capability that is revoked between the look-up and the registration of its
// stream must not slip through: the guard looks again once it is registered.
func TestRevokedWhileOpening(t *testing.T) {
	f := newFixture(t)
	_, id := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ})
	if f.guard.isRevoked(id) {
		t.Error("a good capability is revoked")
	}
	f.state.revoke(t, id)
	if !f.guard.isRevoked(id) || !f.guard.isRevoked("cap-99") || f.guard.isRevoked("") {
		t.Error("isRevoked is wrong")
	}
}
