package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb/benchpb"
)

// LoadConfig says what is proposed to the limit's cluster.
type LoadConfig struct {
	Addresses []string
	TLSDir    string
	Jobs      int
	InFlight  int
	Sizes     []int // bytes of each proposal of a job, one after the other
	Submits   int   // streams for the first one, which goes in a message of its own
	Sessions  int   // streams for the others, which share messages as a worker's do
	LogBytes  int   // that cross a session's stream with the last one
}

// loader keeps a number of jobs in flight, each of which makes its proposals
// one after the other.
type loader struct {
	cfg      LoadConfig
	submits  []*lane
	sessions []*lane
	payloads [][]byte
	log      []byte
	done     chan struct{}

	mu    sync.Mutex
	begun []time.Time // by job
	took  sample
}

// RunLoad is the process that proposes; it reports as a client does.
func RunLoad(ctx context.Context, cfg LoadConfig) error {
	l := &loader{cfg: cfg, log: make([]byte, cfg.LogBytes), done: make(chan struct{})}
	for _, n := range cfg.Sizes {
		l.payloads = append(l.payloads, make([]byte, n))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	if err := l.open(ctx, g); err != nil {
		return err
	}
	begin := time.Now()
	for range min(cfg.InFlight, cfg.Jobs) {
		l.start()
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		return g.Wait()
	}
	end := time.Now()
	return tell(clientsReport{Jobs: len(l.took), Begin: begin.UnixNano(), End: end.UnixNano(), P50: l.took.at(0.5), P99: l.took.at(0.99)})
}

// open makes the streams: those that submit share a connection, as a client's
// do, and each session has its own.
func (l *loader) open(ctx context.Context, g *errgroup.Group) error {
	var conn *grpc.ClientConn
	for i := range l.cfg.Submits + l.cfg.Sessions {
		if i == 0 || i >= l.cfg.Submits {
			var err error
			if conn, err = dialRawLeader(ctx, l.cfg.TLSDir, l.cfg.Addresses); err != nil {
				return err
			}
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		stream, err := benchpb.NewBenchClient(conn).Propose(ctx)
		if err != nil {
			return err
		}
		ln := &lane{single: i < l.cfg.Submits, wake: make(chan struct{}, 1)}
		if ln.single {
			l.submits = append(l.submits, ln)
		} else {
			l.sessions = append(l.sessions, ln)
		}
		g.Go(func() error { return ln.send(ctx, stream) })
		g.Go(func() error { return l.receive(stream) })
	}
	return nil
}

// start begins the next job, if there is one.
func (l *loader) start() {
	l.mu.Lock()
	job := len(l.begun)
	if job < l.cfg.Jobs {
		l.begun = append(l.begun, time.Now())
	}
	l.mu.Unlock()
	if job < l.cfg.Jobs {
		l.propose(job, 0)
	}
}

// propose sends one proposal of a job on its way.
func (l *loader) propose(job, step int) {
	lanes := l.submits
	if step > 0 && len(l.sessions) > 0 {
		lanes = l.sessions
	}
	c := &benchpb.Command{Seq: uint64(job*len(l.payloads) + step), Payload: l.payloads[step]}
	if step == len(l.payloads)-1 {
		c.Ballast = l.log
	}
	lanes[job%len(lanes)].add(c)
}

func (l *loader) receive(stream benchpb.Bench_ProposeClient) error {
	for {
		in, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("read commits: %w", err)
		}
		if in.Error != "" {
			return errors.New("propose: " + in.Error)
		}
		for _, seq := range in.Seqs {
			job, step := int(seq)/len(l.payloads), int(seq)%len(l.payloads)
			if step+1 < len(l.payloads) {
				l.propose(job, step+1)
				continue
			}
			l.ended(job)
			l.start()
		}
	}
}

func (l *loader) ended(job int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, time.Since(l.begun[job]))
	if len(l.took) == l.cfg.Jobs {
		close(l.done)
	}
}

// lane is one stream's queue.
type lane struct {
	single bool // each command has a message of its own
	wake   chan struct{}

	mu    sync.Mutex
	queue []*benchpb.Command
}

func (ln *lane) add(c *benchpb.Command) {
	ln.mu.Lock()
	ln.queue = append(ln.queue, c)
	ln.mu.Unlock()
	select {
	case ln.wake <- struct{}{}:
	default:
	}
}

func (ln *lane) send(ctx context.Context, stream benchpb.Bench_ProposeClient) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ln.wake:
		}
		ln.mu.Lock()
		all := ln.queue
		ln.queue = nil
		ln.mu.Unlock()
		for len(all) > 0 {
			n := len(all)
			if ln.single {
				n = 1
			}
			if err := stream.Send(&benchpb.Commands{Commands: all[:n]}); err != nil {
				return fmt.Errorf("propose: %w", err)
			}
			all = all[n:]
		}
	}
}

// dialRawLeader waits for the limit's cluster to have a leader.
func dialRawLeader(ctx context.Context, tlsDir string, addrs []string) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	identity, err := mtls.LoadNode(mtls.Files{Cert: tlsDir + "/node.pem", Key: tlsDir + "/node-key.pem", CA: tlsDir + "/ca.pem"}, nil)
	if err != nil {
		return nil, err
	}
	for {
		for _, addr := range addrs {
			conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(identity.Dialing()),
				grpc.WithInitialWindowSize(client.StreamWindow), grpc.WithInitialConnWindowSize(client.ConnWindow))
			if err != nil {
				return nil, err
			}
			r, err := benchpb.NewBenchClient(conn).Leader(ctx, &benchpb.LeaderRequest{})
			if err == nil && r.Leads {
				return conn, nil
			}
			conn.Close()
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("the limit's cluster found no leader within a minute")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
