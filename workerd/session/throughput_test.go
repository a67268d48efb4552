package session

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

// instantHost ends every attempt the moment it is granted.
type instantHost struct {
	fakeHost
	session *Session
}

func (h *instantHost) Grants(grants []*pb.Grant) {
	results := make([]*pb.FinishedAttempt, len(grants))
	for i, g := range grants {
		results[i] = &pb.FinishedAttempt{Lease: g.Lease, Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}}
	}
	h.session.Finished(results...)
}

func (h *instantHost) FinishAcks([]*pb.FinishAck) {}

// keepBusy is a leader that keeps n leases in flight until total have ended.
func keepBusy(n, total int, done chan<- struct{}) func(sessiontest.Stream) error {
	return func(s sessiontest.Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		lease := uint64(0)
		grants := func(n int) (all []*pb.Grant) {
			for range n {
				lease++
				all = append(all, &pb.Grant{Lease: lease, Job: lease, Attempt: 1, Spec: make([]byte, 200)})
			}
			return all
		}
		down := &pb.NodeMessage{Welcome: sessiontest.NewLeader().Welcome, Grants: grants(n)}
		for ended := 0; ended < total; {
			if err := s.Send(down); err != nil {
				return err
			}
			m, err := s.Recv()
			if err != nil {
				return err
			}
			ended += len(m.Finished)
			down = &pb.NodeMessage{Grants: grants(len(m.Finished))}
			for _, f := range m.Finished {
				down.FinishAcks = append(down.FinishAcks, &pb.FinishAck{Lease: f.Lease, Recorded: true})
			}
			if m.Heartbeat != nil {
				down.HeartbeatAck = &pb.HeartbeatAck{Seq: m.Heartbeat.Seq}
			}
		}
		close(done)
		<-s.Context().Done()
		return nil
	}
}

// BenchmarkAttempts is what the session protocol alone allows, over real TLS.
func BenchmarkAttempts(b *testing.B) {
	c := sessiontest.Start(b, 1)
	done := make(chan struct{})
	c.Nodes[0].OnSession(keepBusy(256, b.N, done))
	host := new(instantHost)
	s := New(Config{Capability: c.Capability(b), Pool: "p", Name: "w", Slots: 256}, host, hclog.NewNullLogger(), nil)
	host.session = s
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx); err != nil {
			b.Error(err)
		}
	}()
	<-done
	cancel()
	<-ended
}
