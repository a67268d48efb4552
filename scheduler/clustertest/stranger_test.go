package clustertest

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// A follower cannot tell what an unknown token is for. Who opens a worker's
// streams with one, and says hello only when that node has come into office, is
// refused all the same.
func TestAStrangerWaitsForANodeToLead(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", nil)
	next := c.Followers()[0]
	conn := rawConn(t, c, c.Admin, next)
	unknown := metadata.AppendToOutgoingContext(c.Context(), reason.MetaAuthorization, "Bearer "+capability.NewToken().Reveal())
	session, err := pb.NewWorkerServiceClient(conn).Session(unknown)
	c.must(err)
	logs, err := pb.NewWorkerServiceClient(conn).ShipLogs(unknown)
	c.must(err)
	_, err = pb.NewMembershipClient(conn).Status(bearer(c.Context(), c.Admin), &pb.StatusRequest{})
	c.must(err) // and the streams came before this call

	_, err = c.Client(c.Admin).Members().TransferLeadership(c.Context(), &pb.TransferLeadershipRequest{To: next.Name})
	c.must(err)
	c.Wait(next.Name+" to lead", next.Leads)
	c.must(session.Send(&pb.WorkerMessage{Hello: &pb.WorkerHello{Pool: "p", Name: "stranger", InstanceKey: bytes.Repeat([]byte("k"), 32), Slots: 1, BootId: "b"}}))
	if m, err := session.Recv(); client.Reason(err) != reason.Unauthenticated {
		t.Errorf("the session of a stranger: %v, %v", m, err)
	}
	c.must(logs.Send(&pb.LogUp{Hello: &pb.LogHello{Pool: "p", Name: "stranger", InstanceKey: bytes.Repeat([]byte("k"), 32)}}))
	if m, err := logs.Recv(); client.Reason(err) != reason.Unauthenticated {
		t.Errorf("the logs of a stranger: %v, %v", m, err)
	}
	next.Server.Store().View(func(s *fsm.State) {
		for w := range s.Workers("p") {
			t.Errorf("worker %v was registered", w)
		}
	})
}

// A worker that reaches only a follower has both its streams relayed. They end
// within a second of the revocation of its capability.
func TestRevocationEndsRelayedStreams(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", nil)
	cap, id := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"p"}})
	key := bytes.Repeat([]byte("k"), 32)
	service := pb.NewWorkerServiceClient(rawConn(t, c, cap, c.Followers()[0]))
	session, err := service.Session(bearer(c.Context(), cap))
	c.must(err)
	c.must(session.Send(&pb.WorkerMessage{Hello: &pb.WorkerHello{Pool: "p", Name: "far", InstanceKey: key, Slots: 1, BootId: "b", Relay: true}}))
	first, err := session.Recv()
	if err != nil || first.Welcome == nil {
		t.Fatalf("the session began with %v, %v", first, err)
	}
	logs, err := service.ShipLogs(bearer(c.Context(), cap))
	c.must(err)
	c.must(logs.Send(&pb.LogUp{Hello: &pb.LogHello{Pool: "p", Name: "far", InstanceKey: key, Relay: true}}))
	c.must(logs.Send(&pb.LogUp{Offers: []*pb.LogOffer{{Lease: 1, Job: 1, Attempt: 1}}}))
	ack, err := logs.Recv()
	if err != nil || len(ack.Acks) != 1 || !ack.Acks[0].Refused {
		t.Fatalf("the logs began with %v, %v", ack, err) // the leader knows no such lease
	}

	_, err = c.Client(c.Admin).Admin().RevokeCapability(c.Context(), &pb.RevokeCapabilityRequest{Id: id})
	c.must(err)
	begun := time.Now()
	for err = nil; err == nil; {
		_, err = session.Recv()
	}
	sessionErr := err
	for err = nil; err == nil; {
		_, err = logs.Recv()
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the streams ended after %v", took)
	}
	for what, err := range map[string]error{"session": sessionErr, "logs": err} {
		if client.Reason(err) != reason.Unauthenticated {
			t.Errorf("the %s ended with %v", what, err)
		}
	}
}

// Who has the pin of another CA ends the handshake by itself. The node leaves
// audit lines of that, and not without bound.
func TestDistrustIsAuditedAndPaced(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	other, err := mtls.NewAuthority("another cluster", time.Hour)
	c.must(err)
	address := c.Nodes[0].Address
	const tries, written = 20, 5
	for range tries {
		conn, err := tls.Dial("tcp", address, mtls.PinnedConfig([]mtls.Pin{mtls.Fingerprint(other.Cert)}, address, mtls.ProtoGRPC))
		if err == nil {
			conn.Close()
			t.Fatal("the client trusts a node of another CA")
		}
	}
	c.Wait("the audit", func() bool { return strings.Count(c.Log(), "does not trust this node's certificate") >= written })
	c.Nodes[0].Stop() // what was only counted is written in the end
	log := c.Log()
	if lines := strings.Count(log, "audit: refused: "); lines != written {
		t.Errorf("%d refusals have a line of their own, want %d", lines, written)
	}
	if !strings.Contains(log, "audit: refused again: ") || !strings.Contains(log, "more=15") {
		t.Errorf("the rest is not counted in:\n%s", log)
	}
}

// A worker whose session is ended for its silence hears why, and that it may
// come again: through the leader as through a follower.
func TestASilentWorkersSessionIsInterrupted(t *testing.T) {
	c := Start(t, Options{})
	with := c.NewPool("p", &pb.PoolConfig{LeaseTtlMs: fsm.MinLeaseTTL})
	for name, n := range map[string]*Node{"direct": c.Leader(), "relayed": c.Followers()[0]} {
		session, err := pb.NewWorkerServiceClient(rawConn(t, c, with, n)).Session(bearer(c.Context(), with))
		c.must(err)
		c.must(session.Send(&pb.WorkerMessage{Hello: &pb.WorkerHello{
			Pool: "p", Name: name, InstanceKey: bytes.Repeat([]byte(name[:1]), 32), Slots: 1, BootId: "b", Relay: true,
		}}))
		for err = nil; err == nil; { // it says nothing any more
			_, err = session.Recv()
		}
		if status.Code(err) != codes.Unavailable || client.Reason(err) != reason.Interrupted || !strings.Contains(err.Error(), "nothing was heard of the worker for ") {
			t.Errorf("%s: the session ended with %v", name, err)
		}
	}
}
