package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/capability"
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

// A stream whose capability this node had not heard of when it was opened ends
// with that capability once it has been confirmed.
func TestAConfirmedStreamEndsWithItsCapability(t *testing.T) {
	f := newFixture(t)
	f.leads = false
	token := capability.NewToken()
	s, err := pb.NewJobServiceClient(f.conn(t, nil)).SubmitStream(with(t, token))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.SubmitRequest{Pool: "wait"}); err != nil {
		t.Fatal(err)
	}
	handler := <-f.sent
	if kind := From(handler).Kind; kind != Unverified {
		t.Fatalf("the stream is %v", kind)
	}
	f.leads = true
	method := pb.JobService_SubmitStream_FullMethodName
	if _, err := f.guard.Confirm(handler, method); err == nil || !strings.Contains(err.Error(), "does not know the capability's token") {
		t.Errorf("an unknown token is confirmed: %v", err)
	}
	id := f.state.grantToken(t, token, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "ci"})
	confirmed, err := f.guard.Confirm(handler, method)
	if err != nil || From(confirmed).Capability != id {
		t.Fatalf("confirmed as %v, %v", From(confirmed), err)
	}
	f.state.revoke(t, id)
	f.guard.Revoked(id)
	if _, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "capability "+id+" was revoked") {
		t.Errorf("the stream ended with %v", err)
	}
	<-handler.Done()
	f.guard.Wait()
	if open := f.guard.streams.holders(); len(open) > 0 {
		t.Errorf("streams of %q are left", open)
	}
	if _, err := f.guard.Confirm(handler, method); err == nil || len(f.guard.streams.holders()) > 0 {
		t.Errorf("a stream that has ended is confirmed: %v", err)
	}
}
