package lead

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

func TestOutboxSharesMessages(t *testing.T) {
	o := newOutbox()
	put := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(o.welcome(&pb.Welcome{Session: "s"}))
	for i := range uint64(3) {
		put(o.grant(&pb.Grant{Lease: i}))
		put(o.stop(&pb.Stop{Lease: i}))
		put(o.finishAck(&pb.FinishAck{Lease: i}))
		put(o.heartbeat(i))
	}
	<-o.wake
	if m := o.take(); m.Welcome.GetSession() != "s" || len(m.Grants) != 0 {
		t.Errorf("the welcome is not alone and first: %v", m)
	}
	m := o.take()
	if len(m.Grants) != 3 || len(m.Stops) != 3 || len(m.FinishAcks) != 3 || m.HeartbeatAck.GetSeq() != 2 {
		t.Errorf("not in one message: %v", m)
	}
	for i, g := range m.Grants {
		if g.Lease != uint64(i) {
			t.Errorf("grants are out of order: %v", m.Grants)
		}
	}
	if m := o.take(); m != nil {
		t.Errorf("sent again: %v", m)
	}
}

func TestOutboxBoundsMessages(t *testing.T) {
	o := newOutbox()
	spec := make([]byte, 200<<10)
	for i := range uint64(20) {
		if err := o.grant(&pb.Grant{Lease: i, Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	next := uint64(0)
	for m := o.take(); m != nil; m = o.take() {
		if size := proto.Size(m); size > 2<<20 {
			t.Errorf("a message of %d bytes", size)
		}
		for _, g := range m.Grants {
			if g.Lease != next {
				t.Fatalf("lease %d came when %d was next", g.Lease, next)
			}
			next++
		}
	}
	if next != 20 || o.bytes != 0 {
		t.Errorf("%d of 20 grants were sent, %d bytes are left", next, o.bytes)
	}
}

func TestOutboxOverflows(t *testing.T) {
	o := newOutbox()
	var err error
	for i := 0; err == nil && i < 2*maxOutItems; i++ {
		err = o.finishAck(&pb.FinishAck{})
	}
	if !errors.Is(err, errSlow) {
		t.Errorf("a worker that reads nothing: %v", err)
	}
	o, err = newOutbox(), nil
	for i := 0; err == nil && i < 2*maxOutBytes>>20; i++ {
		err = o.grant(&pb.Grant{Spec: make([]byte, 1<<20)})
	}
	if !errors.Is(err, errSlow) {
		t.Errorf("a worker that reads no grants: %v", err)
	}
}

func TestSpecLimits(t *testing.T) {
	for _, spec := range []*pb.JobSpec{
		{},
		{TimeLimitMs: 5000, LogLimitBytes: 1 << 30},
		{
			Kind:      &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "test"}, Dir: "src"}},
			CacheHint: "h", Urgent: true, Slots: 3, TimeLimitMs: 77, Labels: []*pb.Label{{Name: "os", Value: "linux"}},
			Git: &pb.GitContext{Url: "https://example.org/r.git", Commits: []string{"main"}}, LogLimitBytes: 99,
		},
	} {
		data, err := proto.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if limit, log := specLimits(data); limit != spec.TimeLimitMs || log != spec.LogLimitBytes {
			t.Errorf("%v: limits %d, %d", spec, limit, log)
		}
		for i := range data {
			specLimits(data[:i]) // must not panic
		}
	}
}

// Where the leader is now is the last thing that a worker hears.
func TestOutboxRedirectsLast(t *testing.T) {
	o := newOutbox()
	for _, put := range []error{o.redirect(&pb.Redirect{Leader: "n2:7000"}), o.grant(&pb.Grant{Lease: 1}), o.finishAck(&pb.FinishAck{Lease: 2})} {
		if put != nil {
			t.Fatal(put)
		}
	}
	if m := o.take(); m.Redirect != nil || len(m.Grants) != 1 || len(m.FinishAcks) != 1 {
		t.Errorf("first: %v", m)
	}
	if m := o.take(); m.GetRedirect().GetLeader() != "n2:7000" {
		t.Errorf("then: %v", m)
	}
	if m := o.take(); m != nil {
		t.Errorf("at last: %v", m)
	}
}
