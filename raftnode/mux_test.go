package raftnode

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// startMux serves one mux until the test ends.
func startMux(t *testing.T, ca *testCA, audit func(string, string)) *Mux {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	m := NewMux(tcp, ca.issue(t, "server").ServerConfig(), hclog.NewNullLogger(), audit)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-ended) })
	return m
}

func TestMuxDispatchesByProtocol(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	m := startMux(t, ca, nil)
	node := ca.issue(t, "client")
	for protocol, listener := range map[string]net.Listener{mtls.ProtoGRPC: m.GRPC(), mtls.ProtoRaft: m.Raft()} {
		conn, err := (&tls.Dialer{Config: node.ClientConfig(protocol)}).Dial("tcp", m.tcp.Addr().String())
		must(t, err)
		accepted, err := listener.Accept()
		must(t, err)
		if got := accepted.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != protocol {
			t.Errorf("the listener of %s got %s", protocol, got)
		}
		conn.Close()
		accepted.Close()
	}
}

func TestSilentConnectionsDelayNobody(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	m := startMux(t, ca, nil)
	for range 50 {
		silent, err := net.Dial("tcp", m.tcp.Addr().String())
		must(t, err)
		defer silent.Close()
	}
	conn, err := (&tls.Dialer{Config: ca.issue(t, "client").ClientConfig(mtls.ProtoRaft)}).Dial("tcp", m.tcp.Addr().String())
	must(t, err)
	defer conn.Close()
	accepted, err := m.Raft().Accept()
	must(t, err)
	accepted.Close()
}

func TestRaftWithoutANodeCertificateIsRefusedWithAnAlert(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	var mu sync.Mutex
	var audited []string
	m := startMux(t, ca, func(_, what string) {
		mu.Lock()
		defer mu.Unlock()
		audited = append(audited, what)
	})
	pair, err := ca.authority.Issue(mtls.Request{Role: mtls.RoleClient, Name: "someone", Valid: time.Hour})
	must(t, err)
	client, err := pair.TLS()
	must(t, err)
	base := ca.issue(t, "x").ClientConfig(mtls.ProtoRaft)
	for name, certs := range map[string][]tls.Certificate{"none": nil, "of a client": {client}} {
		config := &tls.Config{RootCAs: base.RootCAs, NextProtos: []string{mtls.ProtoRaft}, Certificates: certs}
		conn, err := (&tls.Dialer{Config: config}).Dial("tcp", m.tcp.Addr().String())
		if err == nil { // in TLS 1.3 the client is done before the server has seen its certificate
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "tls:") {
			t.Errorf("certificate %s: %v, want an alert", name, err)
		}
	}
	eventually(t, "the audit", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(audited) != 2 || !strings.Contains(audited[0], "node role") {
			return errors.New(strings.Join(audited, "; "))
		}
		return nil
	})
}

func TestMuxRefusesOtherProtocols(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	m := startMux(t, ca, nil)
	config := ca.issue(t, "x").ClientConfig("something/1")
	if conn, err := (&tls.Dialer{Config: config}).Dial("tcp", m.tcp.Addr().String()); err == nil {
		conn.Close()
		t.Fatal("an unknown protocol was accepted")
	}
	config.NextProtos = nil
	conn, err := (&tls.Dialer{Config: config}).Dial("tcp", m.tcp.Addr().String())
	must(t, err)
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("a connection without a protocol stays open")
	}
}

// dial returns the membership service of a node, for a caller with that identity.
func (n *testNode) membership(as *mtls.Node) pb.MembershipClient {
	conn, err := grpc.NewClient("passthrough:///"+n.addr, grpc.WithTransportCredentials(as.Dialing()))
	must(n.cluster.t, err)
	n.cluster.t.Cleanup(func() { conn.Close() })
	return pb.NewMembershipClient(conn)
}

func TestMembershipService(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	leader := c.leader()
	others := c.followers(leader)
	call := func(n *testNode) pb.MembershipClient { return n.membership(others[0].tls) }

	hello, err := call(leader).Hello(t.Context(), &pb.HelloRequest{Name: others[0].name, NowMs: time.Now().UnixMilli()})
	must(t, err)
	if hello.ClusterId != string(leader.node.ClusterID()) || hello.LeaderAddress != leader.addr || !strings.Contains(hello.Says, "leader") {
		t.Fatalf("%v", hello)
	}
	if _, err := call(leader).Hello(t.Context(), &pb.HelloRequest{Name: "another", NowMs: time.Now().UnixMilli()}); status.Code(err) != codes.PermissionDenied {
		t.Fatalf("a caller with another's name: %v", err)
	}
	if _, err := call(leader).Hello(t.Context(), &pb.HelloRequest{Name: others[0].name, NowMs: 1}); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("a caller with another clock: %v", err)
	}
	reply, err := call(others[1]).Join(t.Context(), &pb.JoinRequest{NodeId: "x", Name: others[0].name, Address: others[0].addr})
	must(t, err)
	if reply.Added || reply.LeaderAddress != leader.addr {
		t.Fatalf("a follower lets join: %v", reply)
	}
	reply, err = call(leader).Join(t.Context(), &pb.JoinRequest{NodeId: "x", Name: others[0].name, Address: others[0].addr})
	must(t, err)
	if reply.Added || !strings.Contains(reply.Why, "is alive") {
		t.Fatalf("a living node's place was given away: %v", reply)
	}
	if _, err := call(others[1]).ListMembers(t.Context(), &pb.ListMembersRequest{}); status.Code(err) != codes.Unavailable {
		t.Fatalf("a follower lists without stale: %v", err)
	}
	list, err := call(leader).ListMembers(t.Context(), &pb.ListMembersRequest{})
	must(t, err)
	if len(list.Members) != 3 || list.Members[0].Suffrage != "voter" {
		t.Fatalf("%v", list)
	}
	if _, err := call(leader).RemoveMember(t.Context(), &pb.RemoveMemberRequest{Member: "nobody"}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	moved, err := call(leader).TransferLeadership(t.Context(), &pb.TransferLeadershipRequest{To: others[0].name})
	must(t, err)
	if moved.Leader != others[0].name {
		t.Fatalf("%v leads", moved.Leader)
	}
	st, err := call(others[0]).Status(t.Context(), &pb.StatusRequest{})
	must(t, err)
	if st.State != "leader" || len(st.Members) != 3 {
		t.Fatalf("%v", st)
	}
}

func TestAFailedTransferIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	leader := c.leader()
	away := c.followers(leader)[0]
	c.net.cut(away.addr)
	defer c.net.heal(away.addr)
	_, err := leader.membership(leader.tls).TransferLeadership(t.Context(), &pb.TransferLeadershipRequest{To: away.name})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the office was not handed over: ") {
		t.Fatalf("transfer to a node that is cut off: %v", err)
	}
	if details := status.Convert(err).Details(); len(details) != 1 || details[0].(*errdetails.ErrorInfo).Reason != reason.Refused {
		t.Fatalf("%v", details)
	}
}

func TestAddMemberSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, nil)
	c.startAll()
	node := c.leader()
	for want, req := range map[string]*pb.AddMemberRequest{
		"node id": {Name: "n2", Address: "127.0.0.1:1"},
		"name":    {NodeId: "x", Address: "127.0.0.1:1"},
		"address": {NodeId: "x", Name: "n2"},
	} {
		_, err := node.membership(node.tls).AddMember(t.Context(), req)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v", want, err)
		}
	}
}

func TestAddMemberByHand(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 1, nil)
	c.startAll()
	c.propose("a")
	first := c.nodes[0]
	added := c.add("n2")
	c.tune = func(c *Config) { c.Join = nil }
	added.start()
	m, err := first.membership(first.tls).AddMember(t.Context(), &pb.AddMemberRequest{
		NodeId: string(added.node.ID()), Name: "n2", Address: added.addr, Voter: true,
	})
	must(t, err)
	if m.Member.Suffrage != "voter" {
		t.Fatalf("%v", m)
	}
	c.converge("a")
}
