package peers

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
)

const patience = 20 * time.Second

func newNode(t *testing.T, ca *mtls.Authority, name string) *mtls.Node {
	t.Helper()
	pair, err := ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: name, Hosts: []string{"127.0.0.1"}, Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := mtls.Files{Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem")}
	if err := errors.Join(pair.Save(files.Cert, files.Key), mtls.WriteSecret(files.CA, ca.CertPEM())); err != nil {
		t.Fatal(err)
	}
	n, err := mtls.LoadNode(files, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// status answers with what came along with the call.
type status struct {
	pb.UnimplementedMembershipServer
}

func (status) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.NodeStatus, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	return &pb.NodeStatus{ClusterId: strings.Join(md.Get(reason.MetaClusterID), ",")}, nil
}

// serve serves a node on an address; stop ends it.
func serve(t *testing.T, node *mtls.Node, address string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(node.ServerConfig())))
	pb.RegisterMembershipServer(s, status{})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	return l.Addr().String(), func() { s.Stop(); <-ended }
}

func TestConnections(t *testing.T) {
	ca, err := mtls.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	one, two := newNode(t, ca, "n1"), newNode(t, ca, "n2")
	address, stop := serve(t, two, "127.0.0.1:0")
	cluster := "cluster-a"
	members := []raftnode.Member{{Peer: raftnode.Peer{ID: "id-2", Name: "n2", Address: address}}}
	set := New(Config{Credentials: one.Dialing(), Cluster: func() string { return cluster }, Members: func() []raftnode.Member { return members }})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	byID, err := set.Conn("id-2")
	if err != nil {
		t.Fatal(err)
	}
	if byAddress, err := set.Conn(address); err != nil || byAddress != byID {
		t.Errorf("another connection by address: %v", err)
	}
	if _, err := set.Conn("nobody"); err == nil {
		t.Error("connected to nobody")
	}
	client := pb.NewMembershipClient(byID)
	for _, want := range []string{"cluster-a", ""} {
		cluster = want
		if r, err := client.Status(ctx, &pb.StatusRequest{}); err != nil || r.ClusterId != want {
			t.Errorf("cluster id: %v, %v; want %q", r, err, want)
		}
	}

	// The peer comes back: the same connection works again by itself.
	stop()
	if _, err := client.Status(ctx, &pb.StatusRequest{}); err == nil {
		t.Error("a peer that is down answers")
	}
	_, stop = serve(t, two, address)
	defer stop()
	if _, err := client.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("after the peer came back: %v", err)
	}

	members = nil
	set.prune()
	if _, err := client.Status(ctx, &pb.StatusRequest{}); err == nil {
		t.Error("the connection to a former member is open")
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	if _, err := set.Conn(address); err == nil {
		t.Error("a closed set connects")
	}
}

func TestRunPrunes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := New(Config{Members: func() []raftnode.Member { return nil }, Cluster: func() string { return "" }})
		conn, err := grpc.NewClient("passthrough:///127.0.0.1:1", grpc.WithTransportCredentials(mtls.Dialing(nil)))
		if err != nil {
			t.Fatal(err)
		}
		set.conns["127.0.0.1:1"] = conn
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- set.Run(ctx) }()
		<-time.After(pruneEvery + time.Second) // in the bubble's own time
		synctest.Wait()
		set.mu.Lock()
		if len(set.conns) != 0 {
			t.Error("a connection to no member was kept")
		}
		set.mu.Unlock()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
