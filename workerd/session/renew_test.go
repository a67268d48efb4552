package session

import (
	"slices"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

// A worker whose capability is read again connects anew at the same leader, says
// which keys it holds now, and still what it runs.
func TestARenewedCapabilityIsToldToTheLeader(t *testing.T) {
	c := sessiontest.Start(t, 1)
	l := sessiontest.NewLeader(c.Addresses()...)
	auth := make(chan []string, 2)
	c.Nodes[0].OnSession(func(s sessiontest.Stream) error {
		md, _ := metadata.FromIncomingContext(s.Context())
		auth <- md.Get(reason.MetaAuthorization)
		return l.Serve(s)
	})
	w := start(t, c, nil)
	if hello := next(t, l.Hellos, "the hello"); len(hello.Keys) != 0 {
		t.Errorf("it holds %q", hello.Keys)
	}
	next(t, auth, "the token")
	w.host.mu.Lock()
	w.host.running = []uint64{7}
	w.host.mu.Unlock()

	fresh, err := capability.New(capability.NewToken(), c.Addresses(), c.Capability(t).Pins())
	if err != nil {
		t.Fatal(err)
	}
	w.Renew(fresh, []string{"k1", "k2"})
	hello := next(t, l.Hellos, "the second hello")
	if !slices.Equal(hello.Keys, []string{"k1", "k2"}) || !slices.EqualFunc(hello.Running, []uint64{7}, func(r *pb.RunningAttempt, lease uint64) bool { return r.Lease == lease }) {
		t.Errorf("the second hello: keys %q, running %v", hello.Keys, hello.Running)
	}
	if got := next(t, auth, "the new token"); len(got) != 1 || got[0] != "Bearer "+fresh.Token().Reveal() {
		t.Error("it did not come with the new token")
	}
	until(t, "the new link", func() bool { return w.Link() != nil })
}
