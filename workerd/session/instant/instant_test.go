package instant

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/session"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

// granter keeps n leases in flight until total were acknowledged, then closes done.
func granter(l *sessiontest.Leader, inFlight, total int, done chan struct{}) func(sessiontest.Stream) error {
	return func(s sessiontest.Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		next, acked := uint64(0), 0
		grants := func(n int) (all []*pb.Grant) {
			for range n {
				next++
				all = append(all, &pb.Grant{Lease: next, Job: next, Attempt: 1, Spec: make([]byte, 200)})
			}
			return all
		}
		if err := s.Send(&pb.NodeMessage{Welcome: l.Welcome, Grants: grants(inFlight)}); err != nil {
			return err
		}
		for acked < total {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			down := &pb.NodeMessage{Grants: grants(len(m.Finished))}
			for _, f := range m.Finished {
				down.FinishAcks = append(down.FinishAcks, &pb.FinishAck{Lease: f.Lease, Recorded: true})
			}
			if m.Heartbeat != nil {
				down.HeartbeatAck = &pb.HeartbeatAck{Seq: m.Heartbeat.Seq}
			}
			acked += len(m.Finished)
			if err := s.Send(down); err != nil {
				return err
			}
		}
		close(done)
		<-s.Context().Done()
		return nil
	}
}

func run(t testing.TB, inFlight, total int) *Worker {
	t.Helper()
	c := sessiontest.Start(t, 1)
	done := make(chan struct{})
	c.Nodes[0].OnSession(granter(sessiontest.NewLeader(), inFlight, total, done))
	w := New(session.Config{Capability: c.Capability(t), Pool: "p", Name: "w", Slots: uint32(inFlight)}, nil, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := w.Session().Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	defer func() {
		cancel()
		<-ended
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("waited a minute")
	}
	return w
}

func TestEverythingGrantedEnds(t *testing.T) {
	w := run(t, 16, 5000)
	if w.Done() < 4900 { // the last acknowledgements may be on their way
		t.Errorf("%d attempts were acknowledged", w.Done())
	}
}

func BenchmarkAttempts(b *testing.B) {
	run(b, 256, b.N)
}
