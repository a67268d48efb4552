package api

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
	"github.com/weirbuild/weir/scheduler/lead"
	"github.com/weirbuild/weir/scheduler/state"
)

// Leader is the work that only the leader does.
type Leader interface {
	Serve(stream lead.SessionStream, hello *pb.WorkerHello, by lead.Caller) error
	Suggest(pool, client string, spec *pb.JobSpec) (worker string, leashMs int64, release func(granted bool))
	Workers(pool string) []*pb.Worker
	ShowPool(name string, limit int) (*pb.PoolView, error)
	ShowWorker(pool, name string, limit int) (*pb.WorkerView, error)
	Page(ctx context.Context, pool, worker, page string) ([]byte, error)
	Update(pool, worker, boot string) (fresh, over bool, err error)
	Explain(id fsm.JobID) (ahead int, why string, details []string, err error)
}

// Logs is the build logs as this node can serve them.
type Logs interface {
	pb.NodeServiceServer
	Ship(stream pb.WorkerService_ShipLogsServer, hello *pb.LogHello, by lead.Caller) error
	Read(ctx context.Context, req *pb.ReadLogRequest, send func(*pb.LogData) error) error
}

// Config is what the services act on.
type Config struct {
	Name       string // this node's
	Store      *state.Store
	Leader     Leader
	Logs       Logs
	Guard      *auth.Guard
	Forwarder  *Forwarder
	Membership pb.MembershipServer
	LeaseTTL   time.Duration         // of pools that set none
	Pins       func() []string       // of the cluster's authorities, for new capabilities
	Registerer prometheus.Registerer // nil: no metrics
}

// Server is the services of one node.
type Server struct {
	pb.UnimplementedJobServiceServer
	pb.UnimplementedAdminServiceServer
	pb.UnimplementedWorkerServiceServer

	Config
	watches *watches
}

// New returns the services. Run must run for Watch and WatchSettled to tell
// anything.
func New(c Config) *Server {
	s := &Server{Config: c, watches: newWatches()}
	if m, ok := c.Membership.(*membership); ok {
		m.record = s.recordChange
	}
	return s
}

// Limits of the connections that clients and workers make.
const (
	MaxMessage    = 4 << 20
	maxStreams    = 4096 // of one connection
	pingInterval  = 10 * time.Second
	pingTimeout   = 5 * time.Second
	minClientPing = 3 * time.Second
)

// Options are those of the gRPC server that these services register with: the
// limits, and the chain that every call passes. Errors become statuses, the
// caller is identified, the call stays or goes to the leader, and changes are
// audited.
func (s *Server) Options() []grpc.ServerOption {
	m, guard, forwarder := newMetrics(s.Registerer), s.Guard, s.Forwarder
	return []grpc.ServerOption{
		grpc.Creds(raftnode.ServerCredentials()),
		grpc.ChainUnaryInterceptor(m.unary, guard.Unary, forwarder.Unary, guard.Audit),
		grpc.ChainStreamInterceptor(m.stream, guard.Stream, forwarder.Stream, guard.AuditStream),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.InitialWindowSize(client.StreamWindow), grpc.InitialConnWindowSize(client.ConnWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingInterval, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(10 * time.Second),
	}
}

// Register adds every service to the gRPC server.
func (s *Server) Register(g *grpc.Server) {
	pb.RegisterJobServiceServer(g, s)
	pb.RegisterAdminServiceServer(g, s)
	pb.RegisterWorkerServiceServer(g, s)
	pb.RegisterMembershipServer(g, s.Membership)
	pb.RegisterNodeServiceServer(g, nodeService{server: s, Logs: s.Logs})
}
