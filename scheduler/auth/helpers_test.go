package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
)

const patience = 20 * time.Second

// testState is a state that one test changes directly.
type testState struct {
	mu sync.RWMutex
	s  *fsm.State
}

func (t *testState) View(f func(*fsm.State)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	f(t.s)
}

func (t *testState) apply(tb testing.TB, c *pb.Command) fsm.Result {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	c.IssuedAtMs = t.s.Now() + 1
	r := t.s.Apply(c)
	if r.Refusal != nil {
		tb.Fatalf("apply %v: %v", c, r.Refusal)
	}
	return r
}

// grant makes a capability and returns its token and id.
func (t *testState) grant(tb testing.TB, c *pb.Capability) (capability.Token, string) {
	tb.Helper()
	token := capability.NewToken()
	return token, t.grantToken(tb, token, c)
}

func (t *testState) grantToken(tb testing.TB, token capability.Token, c *pb.Capability) (id string) {
	tb.Helper()
	hash := sha256.Sum256([]byte(token.Reveal()))
	r := t.apply(tb, &pb.Command{Op: &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{Capability: c, TokenSha256: hash[:]}}})
	return r.ID
}

func (t *testState) revoke(tb testing.TB, id string) {
	tb.Helper()
	t.apply(tb, &pb.Command{Op: &pb.Command_RevokeCapability{RevokeCapability: &pb.RevokeCapability{Id: id}}})
}

// fixture is a node that serves every service, all unimplemented, behind a
// guard.
type fixture struct {
	state *testState
	guard *Guard
	addr  string
	ca    *mtls.Authority
	node  *mtls.Node
	audit *lines
	leads bool
	empty bool
	sent  chan context.Context // the context of each stream that a handler got
}

// lines is a log that tests read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) last() string {
	all := strings.Split(strings.TrimSpace(l.String()), "\n")
	return all[len(all)-1]
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{state: &testState{s: fsm.New()}, audit: &lines{}, leads: true, empty: true, sent: make(chan context.Context, 1)}
	f.state.apply(t, &pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: "p"}}})
	f.state.apply(t, &pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "ci", Rate: 1}}})
	f.guard = New(Config{
		State: f.state, Leads: func() bool { return f.leads }, Cluster: func() string { return "cluster-a" }, Name: "n1",
		Empty:  func() bool { return f.empty },
		Why:    func() string { return "it waits for n2" },
		Logger: hclog.New(&hclog.LoggerOptions{Name: "weir", Output: f.audit, Level: hclog.Info}),
	})
	ca, err := mtls.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.ca = ca
	f.node = f.certificate(t, ca, "n1")
	f.serve(t)
	return f
}

func (f *fixture) certificate(t *testing.T, ca *mtls.Authority, name string) *mtls.Node {
	t.Helper()
	pair, err := ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: name, Hosts: []string{"127.0.0.1"}, Valid: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := mtls.Files{Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem")}
	if err := pair.Save(files.Cert, files.Key); err != nil {
		t.Fatal(err)
	}
	if err := mtls.WriteSecret(files.CA, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	node, err := mtls.LoadNode(files, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func (f *fixture) serve(t *testing.T) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = tcp.Addr().String()
	mux := raftnode.NewMux(tcp, f.node.ServerConfig(), hclog.NewNullLogger(), nil)
	ctx, stop := context.WithCancel(context.Background())
	server := grpc.NewServer(grpc.Creds(raftnode.ServerCredentials()),
		grpc.ChainUnaryInterceptor(f.guard.Unary, f.guard.Audit), grpc.ChainStreamInterceptor(f.guard.Stream, f.guard.AuditStream))
	pb.RegisterJobServiceServer(server, &jobs{sent: f.sent})
	pb.RegisterAdminServiceServer(server, pb.UnimplementedAdminServiceServer{})
	pb.RegisterWorkerServiceServer(server, pb.UnimplementedWorkerServiceServer{})
	pb.RegisterMembershipServer(server, pb.UnimplementedMembershipServer{})
	pb.RegisterNodeServiceServer(server, pb.UnimplementedNodeServiceServer{})
	var parts sync.WaitGroup
	parts.Go(func() { _ = mux.Run(ctx) })
	parts.Go(func() { _ = server.Serve(mux.GRPC()) })
	t.Cleanup(func() { server.Stop(); stop(); parts.Wait(); f.guard.Wait() })
}

// jobs is a service whose SubmitStream waits for the client for ever.
type jobs struct {
	pb.UnimplementedJobServiceServer
	sent chan context.Context
}

func (j *jobs) SubmitStream(s pb.JobService_SubmitStreamServer) error {
	if first, err := s.Recv(); err != nil || first.Pool != "wait" {
		return j.UnimplementedJobServiceServer.SubmitStream(s)
	}
	j.sent <- s.Context()
	_, err := s.Recv()
	return err
}

// conn dials with a node's certificate, or with none.
func (f *fixture) conn(t *testing.T, node *mtls.Node) *grpc.ClientConn {
	t.Helper()
	var creds credentials.TransportCredentials
	if node != nil {
		creds = node.Dialing()
	} else {
		creds = mtls.DialingPinned([]mtls.Pin{mtls.Fingerprint(f.ca.Cert)})
	}
	c, err := grpc.NewClient("passthrough:///"+f.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func with(t *testing.T, token capability.Token, more ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	pairs := more
	if !token.IsZero() {
		pairs = append(pairs, reason.MetaAuthorization, "Bearer "+token.Reveal())
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func hexHash(token capability.Token) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}
