package logship

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/spool"
)

// leader is a node that stores logs in memory and seals what is complete. It
// fails the test on anything that the protocol does not allow.
type leader struct {
	pb.UnimplementedWorkerServiceServer
	t *testing.T

	// before sees each message; an error ends the stream.
	before func(up *pb.LogUp) error
	// hold keeps the acks of progress back.
	hold func(lease uint64) bool
	// offered may answer an offer otherwise.
	offered func(o *pb.LogOffer) *pb.LogAck
	// redirect, when set, is the only answer.
	redirect *pb.Redirect
	// forget makes it lose lease 1, once, after the first megabyte, as a node does
	// whose copy turns out damaged.
	forget bool

	mu      sync.Mutex
	changed *sync.Cond
	logs    map[uint64]*stored
	hellos  []*pb.LogHello
	streams int
	order   []uint64 // the lease of each chunk
}

type stored struct {
	data   []byte
	sealed bool
	lost   bool // we asked for it again from its beginning
	agreed bool // the stream and we agree on the offset: what follows must fit
}

func newLeader(t *testing.T) *leader {
	l := &leader{t: t, logs: make(map[uint64]*stored)}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// serve starts a node on loopback and returns its address.
func (l *leader) serve() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	srv := grpc.NewServer()
	pb.RegisterWorkerServiceServer(srv, l)
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(listener) })
	l.t.Cleanup(func() { srv.Stop(); wg.Wait() })
	return listener.Addr().String()
}

func (l *leader) ShipLogs(stream grpc.BidiStreamingServer[pb.LogUp, pb.LogDown]) error {
	first := true
	for {
		up, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if l.redirect != nil {
			return stream.Send(&pb.LogDown{Redirect: l.redirect})
		}
		if l.before != nil {
			if err := l.before(up); err != nil {
				return err
			}
		}
		down, err := l.take(up, first)
		if err != nil {
			l.t.Error(err)
			return err
		}
		first = false
		if len(down.Acks) > 0 {
			if err := stream.Send(down); err != nil {
				return err
			}
		}
	}
}

func (l *leader) take(up *pb.LogUp, first bool) (*pb.LogDown, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.Broadcast()
	if first != (up.Hello != nil) || first && len(up.Offers)+len(up.Chunks) > 0 {
		return nil, fmt.Errorf("a stream begins with hello alone (first: %v): %v", first, up)
	}
	if first {
		l.streams++
		l.hellos = append(l.hellos, up.Hello)
		for _, s := range l.logs {
			s.agreed = false
		}
	}
	down := new(pb.LogDown)
	for _, o := range up.Offers {
		down.Acks = append(down.Acks, l.offer(o))
	}
	for _, c := range up.Chunks {
		ack, err := l.chunk(c)
		if err != nil {
			return nil, err
		}
		if ack != nil && (ack.Sealed || l.hold == nil || !l.hold(c.Lease)) {
			down.Acks = append(down.Acks, ack)
		}
	}
	return down, nil
}

func (l *leader) offer(o *pb.LogOffer) *pb.LogAck {
	if l.offered != nil {
		if ack := l.offered(o); ack != nil {
			return ack
		}
	}
	s := l.logs[o.Lease]
	if s == nil {
		s = new(stored)
		l.logs[o.Lease] = s
	}
	s.agreed = true
	return &pb.LogAck{Lease: o.Lease, Want: int64(len(s.data)), Sealed: s.sealed}
}

func (l *leader) chunk(c *pb.LogChunk) (*pb.LogAck, error) {
	s := l.logs[c.Lease]
	if s == nil {
		return nil, fmt.Errorf("chunk of lease %d, never offered", c.Lease)
	}
	l.order = append(l.order, c.Lease)
	if len(c.Packed) > 0 {
		if len(c.Data) > 0 {
			return nil, fmt.Errorf("lease %d: a chunk is both packed and plain", c.Lease)
		}
		var err error
		if c.Data, err = logpack.Unpack(nil, c.Packed); err != nil {
			return nil, err
		}
	}
	if len(c.Data) > ChunkBytes {
		return nil, fmt.Errorf("a chunk of %d bytes", len(c.Data))
	}
	s.agreed = s.agreed || (s.lost && c.Offset == 0)
	if s.sealed || !s.agreed {
		return nil, nil
	}
	if l.forget && c.Lease == 1 && len(s.data) >= 1<<20 {
		l.forget = false
		*s = stored{lost: true}
		return &pb.LogAck{Lease: c.Lease, Resend: true}, nil
	}
	if c.Offset != int64(len(s.data)) {
		return nil, fmt.Errorf("lease %d: chunk at %d, want %d", c.Lease, c.Offset, len(s.data))
	}
	s.data = append(s.data, c.Data...)
	if c.End != nil {
		sum := sha256.Sum256(s.data)
		if c.End.Bytes != int64(len(s.data)) || !bytes.Equal(sum[:], c.End.Sha256) {
			return nil, fmt.Errorf("lease %d: the end does not fit", c.Lease)
		}
		s.sealed = true
	}
	return &pb.LogAck{Lease: c.Lease, Want: int64(len(s.data)), Sealed: s.sealed}, nil
}

// wait returns once ok does; it is called with mu held.
func (l *leader) wait(ok func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !ok() {
		l.changed.Wait()
	}
}

// dialer makes streams to whatever address at returns.
func dialer(t *testing.T, at func() string) func(context.Context) (Stream, *pb.LogHello, error) {
	return func(ctx context.Context) (Stream, *pb.LogHello, error) {
		conn, err := grpc.NewClient(at(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, nil, err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		stream, err := pb.NewWorkerServiceClient(conn).ShipLogs(ctx)
		return stream, &pb.LogHello{Pool: "p", Name: "w", InstanceKey: []byte("key")}, err
	}
}

// run ships until the test ends.
func run(t *testing.T, cfg Config) {
	cfg.Logger = hclog.NewNullLogger()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Run(ctx, cfg); err != context.Canceled {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func newSpool(t *testing.T) *spool.Spool {
	s, err := spool.Open(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s *spool.Spool, lease uint64, data []byte) *spool.Log {
	t.Helper()
	l, err := s.Create(spool.ID{Lease: lease, Job: lease * 10, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(data); err != nil {
		t.Fatal(err)
	}
	return l
}

func finish(t *testing.T, l *spool.Log) {
	t.Helper()
	if _, err := l.Finish(); err != nil {
		t.Fatal(err)
	}
}
