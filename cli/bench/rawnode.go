package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/pb/benchpb"
	"github.com/weirbuild/weir/raftnode"
)

// NodeConfig is one node of the limit's cluster.
type NodeConfig struct {
	Name      string
	DataDir   string
	Listen    string
	Advertise string
	HTTP      string // accepted and ignored: the flags are those of a server
	TLSDir    string
	Expect    int
	Join      []string
	Profile   string
	LogStore  string
	Machine   string // "empty", or "fsm" for the real state
}

// RunNode is a member of a Raft cluster whose state is empty: what the parts
// can do without weir's own work.
func RunNode(ctx context.Context, cfg NodeConfig, log hclog.Logger) error {
	file := func(name string) string { return filepath.Join(cfg.TLSDir, name) }
	identity, err := mtls.LoadNode(mtls.Files{Cert: file("node.pem"), Key: file("node-key.pem"), CA: file("ca.pem")}, log)
	if err != nil {
		return err
	}
	port, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	audit := func(remote, what string) { log.Warn("refused", "remote", remote, "what", what) }
	mux := raftnode.NewMux(port, identity.ServerConfig(), log, audit)
	profile, err := raftnode.ProfileByName(cfg.Profile)
	if err != nil {
		return err
	}
	node, err := raftnode.Open(raftnode.Config{
		DataDir: cfg.DataDir, Name: cfg.Name, Advertise: cfg.Advertise, BootstrapExpect: cfg.Expect, Join: cfg.Join,
		Profile: profile, LogStore: cfg.LogStore, Raft: mux.Raft(), DialTLS: identity.ClientConfig, Audit: audit, Logger: log,
	}, machine(cfg.Machine))
	if err != nil {
		return err
	}
	b := &rawServer{node: node}
	logs := &bareLogs{sealers: map[uint64]func(){}}
	limit := &bare{rawServer: b, logs: logs}
	server := grpc.NewServer(grpc.Creds(raftnode.ServerCredentials()),
		grpc.InitialWindowSize(client.StreamWindow), grpc.InitialConnWindowSize(client.ConnWindow))
	pb.RegisterMembershipServer(server, raftnode.NewMembershipServer(node))
	pb.RegisterJobServiceServer(server, limit)
	pb.RegisterWorkerServiceServer(server, limit)
	pb.RegisterNodeServiceServer(server, logs)
	benchpb.RegisterBenchServer(server, b)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return mux.Run(ctx) })
	g.Go(func() error { return server.Serve(mux.GRPC()) })
	g.Go(func() error {
		defer server.Stop()
		return node.Run(ctx, func(term context.Context) error {
			b.leads.Store(true)
			defer b.leads.Store(false)
			logs.lead(term, cfg.Join, identity.Dialing(), log)
			return nil
		})
	})
	return g.Wait()
}

func machine(kind string) raftnode.Machine {
	if kind == "fsm" {
		return &stateMachine{state: fsm.New()}
	}
	return emptyMachine{}
}

// emptyMachine has no state.
type emptyMachine struct{}

func (emptyMachine) Apply(_ uint64, commands [][]byte) []any { return make([]any, len(commands)) }
func (emptyMachine) Snapshot() raftnode.Snapshot             { return emptySnapshot{} }
func (emptyMachine) Restore(r io.Reader) error               { _, err := io.Copy(io.Discard, r); return err }

type emptySnapshot struct{}

func (emptySnapshot) WriteTo(io.Writer) (int64, error) { return 0, nil }
func (emptySnapshot) Release()                         {}

// stateMachine is the real state without a service around it.
type stateMachine struct{ state *fsm.State }

func (m *stateMachine) Apply(_ uint64, commands [][]byte) []any {
	results := make([]any, len(commands))
	m.state.Begin()
	for i, raw := range commands {
		var c pb.Command
		if err := c.UnmarshalVT(raw); err != nil {
			results[i] = err
			continue
		}
		if r := m.state.ApplyNext(&c); r.Refusal != nil {
			results[i] = r.Refusal
		}
	}
	return results
}

func (m *stateMachine) Snapshot() raftnode.Snapshot { return stateSnapshot{m.state.Clone()} }

func (m *stateMachine) Restore(r io.Reader) error { return m.state.Restore(r) }

type stateSnapshot struct{ *fsm.State }

func (stateSnapshot) Release() {}

// rawServer serves the benchmark's own service.
type rawServer struct {
	benchpb.UnimplementedBenchServer
	node     *raftnode.Node
	leads    atomic.Bool
	workers  atomic.Int32
	commands atomic.Uint64 // committed, and their bytes
	bytes    atomic.Uint64
}

// propose commits a command, and counts it.
func (s *rawServer) propose(command []byte, done func(any, error)) {
	s.node.ProposeAsync(command, func(result any, err error) {
		if err == nil {
			s.commands.Add(1)
			s.bytes.Add(uint64(len(command)))
		}
		done(result, err)
	})
}

// Leader implements benchpb.BenchServer.
func (s *rawServer) Leader(context.Context, *benchpb.LeaderRequest) (*benchpb.LeaderReply, error) {
	return &benchpb.LeaderReply{
		Leads: s.leads.Load(), Commands: s.commands.Load(), Bytes: s.bytes.Load(), Workers: uint32(s.workers.Load()),
	}, nil
}

// committed is what became of one command.
type committed struct {
	seq uint64
	err error
}

// Propose commits what comes and answers in batches, as a session does.
func (s *rawServer) Propose(stream benchpb.Bench_ProposeServer) error {
	done := newMail[committed]()
	return serve(stream.Context(), func(ctx context.Context) error {
		for {
			all, err := done.take(ctx)
			if err != nil {
				return err
			}
			out := &benchpb.Committed{}
			for _, c := range all {
				out.Seqs = append(out.Seqs, c.seq)
				if c.err != nil {
					out.Error = c.err.Error()
				}
			}
			if err := stream.Send(out); err != nil {
				return err
			}
		}
	}, func(func(error)) error {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, c := range in.Commands {
			s.propose(c.Payload, func(result any, err error) {
				if failed, ok := result.(error); ok {
					err = failed
				}
				done.add(committed{c.Seq, err})
			})
		}
		return nil
	})
}

// Bytes implements benchpb.BenchServer.
func (s *rawServer) Bytes(r *benchpb.BytesRequest, stream benchpb.Bench_BytesServer) error {
	chunk := make([]byte, 256<<10)
	for left := r.Bytes; left > 0; left -= int64(len(chunk)) {
		if err := stream.Send(&benchpb.Chunk{Data: chunk[:min(left, int64(len(chunk)))]}); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot implements benchpb.BenchServer.
func (s *rawServer) Snapshot(ctx context.Context, _ *benchpb.SnapshotRequest) (*benchpb.SnapshotReply, error) {
	began := time.Now()
	if err := s.node.SnapshotNow(ctx); err != nil {
		return nil, fmt.Errorf("take a snapshot: %w", err)
	}
	return &benchpb.SnapshotReply{Micros: time.Since(began).Microseconds()}, nil
}

// Memory implements benchpb.BenchServer.
func (s *rawServer) Memory(context.Context, *benchpb.MemoryRequest) (*benchpb.MemoryReply, error) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return &benchpb.MemoryReply{Bytes: m.HeapAlloc}, nil
}
