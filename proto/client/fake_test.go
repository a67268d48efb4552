package client

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// fakeNode is a node whose answers a test gives.
type fakeNode struct {
	pb.UnimplementedJobServiceServer
	pb.UnimplementedMembershipServer

	addr    string
	server  *grpc.Server
	submit  func(*pb.SubmitRequest) (*pb.SubmitReply, error)
	watch   func(*pb.WatchRequest, pb.JobService_WatchServer) error
	readLog func(*pb.ReadLogRequest, pb.JobService_ReadLogServer) error
	status  func() (*pb.NodeStatus, error)
	create  func() error
}

func (n *fakeNode) Submit(_ context.Context, r *pb.SubmitRequest) (*pb.SubmitReply, error) {
	return n.submit(r)
}

func (n *fakeNode) Watch(r *pb.WatchRequest, s pb.JobService_WatchServer) error {
	return n.watch(r, s)
}

func (n *fakeNode) ReadLog(r *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
	return n.readLog(r, s)
}

func (n *fakeNode) Status(context.Context, *pb.StatusRequest) (*pb.NodeStatus, error) {
	return n.status()
}

// fakeAdmin counts the calls of a method that must not be repeated.
type fakeAdmin struct {
	pb.UnimplementedAdminServiceServer
	node *fakeNode
}

func (a fakeAdmin) CreatePool(context.Context, *pb.CreatePoolRequest) (*pb.CreatePoolReply, error) {
	return &pb.CreatePoolReply{}, a.node.create()
}

// cluster is fake nodes behind one CA.
type cluster struct {
	ca    *mtls.Authority
	nodes []*fakeNode
	creds credentials.TransportCredentials
}

func newCluster(t *testing.T, nodes ...*fakeNode) *cluster {
	t.Helper()
	ca, err := mtls.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{ca: ca, nodes: nodes, creds: mtls.DialingPinned([]mtls.Pin{mtls.Fingerprint(ca.Cert)})}
	for _, n := range nodes {
		c.serve(t, n)
	}
	return c
}

func (c *cluster) serve(t *testing.T, n *fakeNode) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	n.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(c.serverConfig(t))))
	pb.RegisterJobServiceServer(n.server, n)
	pb.RegisterMembershipServer(n.server, n)
	pb.RegisterAdminServiceServer(n.server, fakeAdmin{node: n})
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(l) }()
	t.Cleanup(func() { n.server.Stop(); <-done })
}

func (c *cluster) serverConfig(t *testing.T) *tls.Config {
	t.Helper()
	pair, err := c.ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: "n", Hosts: []string{"127.0.0.1"}, Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := mtls.Files{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem"), CA: filepath.Join(dir, "ca.pem")}
	if err := pair.Save(files.Cert, files.Key); err != nil {
		t.Fatal(err)
	}
	if err := c.ca.Save(files.CA, filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	node, err := mtls.LoadNode(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	return node.ServerConfig()
}

func (c *cluster) client(t *testing.T, o Options) *Client {
	t.Helper()
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr)
	}
	cl, err := NewWithCredentials(addrs, c.creds, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// refusal is a status as nodes make it.
func refusal(code codes.Code, why string) error {
	s, err := status.New(code, "refused: "+why).WithDetails(&errdetails.ErrorInfo{Reason: why, Domain: reason.Domain})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

var noLeader = refusal(codes.Unavailable, reason.NoLeader)
