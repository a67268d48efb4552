package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/api"
	"github.com/weirbuild/weir/scheduler/lead"
	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/logstore/disk"
	"github.com/weirbuild/weir/scheduler/state"
	"github.com/weirbuild/weir/scheduler/state/statetest"
)

// cluster is several nodes' log services over one replicated state: who leads is
// what the test says.
type cluster struct {
	t     testing.TB
	store *state.Store
	opts  disk.Options // but the directory

	mu      sync.Mutex
	nodes   map[raftnode.NodeID]*node
	members []raftnode.Member
	leader  raftnode.NodeID
	heard   Liveness
}

// node is one member: its disk, its log service, and a server that others and
// workers reach.
type node struct {
	*Service
	c       *cluster
	id      raftnode.NodeID
	dir     string
	address string
	disk    *disk.Store
	server  *grpc.Server
	hang    chan struct{} // not nil: copies that are sent to it get no answer until it is closed
	reg     *prometheus.Registry
	full    atomic.Bool  // its store takes nothing
	mute    atomic.Bool  // it takes questions for logs and never answers
	yielded atomic.Int32 // how often it wanted to hand its office over

	stop   func() // of the whole node
	resign func() // of its term; nil: it does not lead
}

func newCluster(t testing.TB, names ...raftnode.NodeID) *cluster {
	c := &cluster{
		t: t, store: statetest.Start(t, nil), nodes: make(map[raftnode.NodeID]*node),
		heard: Liveness{Known: true, Connected: true},
	}
	for _, id := range names {
		c.start(id, t.TempDir())
	}
	t.Cleanup(func() {
		for _, n := range c.running() {
			c.kill(n)
		}
	})
	return c
}

func (c *cluster) running() (all []*node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		all = append(all, n)
	}
	return all
}

func (c *cluster) node(id raftnode.NodeID) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[id]
}

// start runs a node and makes it a member.
func (c *cluster) start(id raftnode.NodeID, dir string) *node {
	c.t.Helper()
	opts := c.opts
	opts.Dir = filepath.Join(dir, "logs")
	store, err := disk.Open(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	n := &node{c: c, id: id, dir: dir, disk: store, address: listener.Addr().String(), reg: prometheus.NewRegistry()}
	peers := &dialed{c: c, conns: make(map[string]*grpc.ClientConn)}
	n.Service = New(Config{
		Self: id, Store: c.store, Disk: &choosy{store, &n.full}, Peers: peers, Meter: n.reg,
		HandOver: func(context.Context) error { n.yielded.Add(1); return nil },
		Leader:   c.currentLeader, WhileLed: func(ctx context.Context, _ raftnode.NodeID) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		},
		Heard:  func(string, string) Liveness { return c.liveness() },
		Logger: hclog.New(&hclog.LoggerOptions{Name: string(id), Output: testWriter{c.t}, Level: hclog.Debug}),
	})
	if _, ok := c.t.(*testing.T); ok { // benchmarks keep the real rhythm
		n.every = rhythm{care: 20 * time.Millisecond, audit: 50 * time.Millisecond, sweep: 300 * time.Millisecond, yield: 100 * time.Millisecond, offer: time.Minute}
	}
	n.server = grpc.NewServer(grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return api.Status(next(srv, s))
	}))
	face := &face{n: n}
	pb.RegisterNodeServiceServer(n.server, face)
	pb.RegisterJobServiceServer(n.server, face)
	pb.RegisterWorkerServiceServer(n.server, face)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { n.server.Serve(listener) })
	wg.Go(func() { n.Run(ctx) })
	wg.Go(func() { store.Run(ctx) })
	n.stop = func() {
		cancel()
		n.server.Stop()
		wg.Wait()
		peers.close()
		if err := store.Close(); err != nil {
			c.t.Errorf("close the store of %s: %v", id, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[id] = n
	c.members = slices.DeleteFunc(c.members, func(m raftnode.Member) bool { return m.ID == id })
	c.members = append(c.members, raftnode.Member{Peer: raftnode.Peer{ID: id, Name: string(id), Address: n.address}, Voter: true})
	return n
}

// choosy is a store whose disk is full at times.
type choosy struct {
	logstore.Store
	full *atomic.Bool
}

func (s *choosy) Put(pieces []logstore.Piece) []logstore.Written {
	if !s.full.Load() {
		return s.Store.Put(pieces)
	}
	all := make([]logstore.Written, len(pieces))
	for i := range all {
		all[i].Err = logstore.ErrFull
	}
	return all
}

// kill ends a node; it stays a member.
func (c *cluster) kill(n *node) {
	if n.resign != nil {
		c.mu.Lock()
		c.leader = ""
		c.mu.Unlock()
		n.resign()
	}
	n.stop()
	c.mu.Lock()
	delete(c.nodes, n.id)
	c.mu.Unlock()
}

// remove takes a dead node out of the membership.
func (c *cluster) remove(id raftnode.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = slices.DeleteFunc(c.members, func(m raftnode.Member) bool { return m.ID == id })
}

// lead puts a node in office, and the present leader out of it.
func (c *cluster) lead(id raftnode.NodeID) *node {
	if old := c.node(c.leaderID()); old != nil && old.resign != nil {
		old.resign()
	}
	n := c.node(id)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Lead(ctx); err != nil {
			c.t.Errorf("%s leads: %v", id, err)
		}
	})
	n.resign = func() { cancel(); wg.Wait(); n.resign = nil }
	for n.current() == nil {
		pause(context.Background(), time.Millisecond)
	}
	c.mu.Lock()
	c.leader = id
	c.mu.Unlock()
	return n
}

func (c *cluster) leaderID() raftnode.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

func (c *cluster) currentLeader() (raftnode.Member, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.ID == c.leader {
			return m, true
		}
	}
	return raftnode.Member{}, false
}

func (c *cluster) liveness() Liveness {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

func (c *cluster) hear(l Liveness) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = l
}

// dialed is a node's connections to the members.
type dialed struct {
	c     *cluster
	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

func (d *dialed) Members() []raftnode.Member {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return slices.Clone(d.c.members)
}

func (d *dialed) Conn(id string) (*grpc.ClientConn, error) {
	for _, m := range d.Members() {
		if string(m.ID) != id {
			continue
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if conn := d.conns[m.Address]; conn != nil {
			return conn, nil
		}
		conn, err := grpc.NewClient("passthrough:///"+m.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, MaxDelay: 100 * time.Millisecond, Multiplier: 1.5}}))
		if err == nil {
			d.conns[m.Address] = conn
		}
		return conn, err
	}
	return nil, fmt.Errorf("%s is no member", id)
}

func (d *dialed) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		conn.Close()
	}
}

// face is a node as the network sees it.
type face struct {
	pb.UnimplementedJobServiceServer
	pb.UnimplementedWorkerServiceServer
	pb.UnimplementedNodeServiceServer
	n *node
}

func (f *face) ReadLog(req *pb.ReadLogRequest, stream grpc.ServerStreamingServer[pb.LogData]) error {
	if f.n.mute.Load() {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return f.n.Read(stream.Context(), req, stream.Send)
}

func (f *face) LogStatus(ctx context.Context, req *pb.LogStatusRequest) (*pb.LogStatusReply, error) {
	return f.n.Service.LogStatus(ctx, req)
}

func (f *face) ReplicateLogs(stream grpc.BidiStreamingServer[pb.LogReplicas, pb.LogReplicaAcks]) error {
	if hang := f.n.hang; hang != nil {
		select {
		case <-hang:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	return f.n.Service.ReplicateLogs(stream)
}

func (f *face) ShipLogs(stream grpc.BidiStreamingServer[pb.LogUp, pb.LogDown]) error {
	up, err := stream.Recv()
	if err != nil {
		return err
	}
	return f.n.Ship(stream, up.Hello, lead.Caller{})
}

// read collects what a node sends of a log, packed where it can be.
func (n *node) read(ctx context.Context, req *pb.ReadLogRequest) (data string, last *pb.LogData, err error) {
	at := req.Offset
	req.Packed = true
	err = n.Read(ctx, req, func(d *pb.LogData) error {
		if at >= 0 && d.Offset != at {
			return fmt.Errorf("data at %d, want %d", d.Offset, at)
		}
		piece, err := plain(d)
		if err != nil {
			return err
		}
		data += string(piece)
		at = d.Offset + int64(len(piece))
		last = d
		return nil
	})
	return data, last, err
}

// plain is what a message has of the log.
func plain(d *pb.LogData) ([]byte, error) {
	if len(d.Packed) == 0 {
		return d.Data, nil
	}
	return logpack.Unpack(nil, d.Packed)
}

// readComplete fails the test unless the node sends all of a log.
func (n *node) readComplete(job fsm.JobID, attempt fsm.AttemptNo, want string) {
	n.c.t.Helper()
	got, last, err := n.read(context.Background(), &pb.ReadLogRequest{Job: uint64(job), Attempt: uint32(attempt)})
	switch {
	case err != nil:
		n.c.t.Errorf("%s reads job %d: %v", n.id, job, err)
	case got != want:
		n.c.t.Errorf("%s reads job %d: %d bytes, want %d, or others", n.id, job, len(got), len(want))
	case !last.GetComplete():
		n.c.t.Errorf("%s reads job %d: not complete: %v", n.id, job, last)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		pause(context.Background(), 5*time.Millisecond)
	}
}

// testWriter is a log of the services, shown when a test fails.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	fmt.Fprintf(w.t.Output(), "%s", p)
	return len(p), nil
}

// stored is what a node has of a log.
func (n *node) stored(k logstore.Key) string {
	data, err := io.ReadAll(io.NewSectionReader(readerAt(func(p []byte, off int64) (int, error) {
		return n.disk.ReadAt(k, p, off)
	}), 0, 1<<40))
	if err != nil && !errors.Is(err, logstore.ErrNotFound) {
		n.c.t.Errorf("read the store of %s: %v", n.id, err)
	}
	return string(data)
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// value is what a counter has counted.
func value(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

// find is the node if it runs.
func (c *cluster) find(id string) *node { return c.node(raftnode.NodeID(id)) }
