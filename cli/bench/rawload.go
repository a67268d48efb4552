package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

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
	Streams   int
}

// RunLoad is the process that proposes; it reports as a client does.
func RunLoad(ctx context.Context, cfg LoadConfig) error {
	conn, err := dialRawLeader(ctx, cfg.TLSDir, cfg.Addresses)
	if err != nil {
		return err
	}
	defer conn.Close()
	begin := time.Now()
	took := make([]sample, cfg.Streams)
	g, gctx := errgroup.WithContext(ctx)
	for i := range cfg.Streams {
		g.Go(func() (err error) {
			took[i], err = loadStream(gctx, conn, cfg, cfg.Jobs/cfg.Streams, max(cfg.InFlight/cfg.Streams, 1))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var all sample
	for _, t := range took {
		all = append(all, t...)
	}
	return tell(clientsReport{Jobs: len(all), Begin: begin.UnixNano(), End: time.Now().UnixNano(), P50: all.at(0.5), P99: all.at(0.99)})
}

// loadStream runs jobs over one stream: each proposes one command after the
// other, and so many jobs are in flight.
func loadStream(ctx context.Context, conn *grpc.ClientConn, cfg LoadConfig, jobs, inFlight int) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := benchpb.NewBenchClient(conn).Propose(ctx)
	if err != nil {
		return nil, err
	}
	payloads := make([][]byte, len(cfg.Sizes))
	for i, n := range cfg.Sizes {
		payloads[i] = make([]byte, n)
	}
	var took sample
	begun := map[uint64]time.Time{}
	sent := 0
	steps := uint64(len(payloads))
	out := &benchpb.Commands{}
	start := func() {
		seq := uint64(sent) * steps
		begun[uint64(sent)] = time.Now()
		sent++
		out.Commands = append(out.Commands, &benchpb.Command{Seq: seq, Payload: payloads[0]})
	}
	for sent < min(inFlight, jobs) {
		start()
	}
	for len(took) < jobs {
		if len(out.Commands) > 0 {
			if err := stream.Send(out); err != nil {
				return nil, fmt.Errorf("propose: %w", err)
			}
			out = &benchpb.Commands{}
		}
		in, err := stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("read commits: %w", err)
		}
		if in.Error != "" {
			return nil, errors.New("propose: " + in.Error)
		}
		for _, seq := range in.Seqs {
			if step := seq%steps + 1; step < steps {
				out.Commands = append(out.Commands, &benchpb.Command{Seq: seq + 1, Payload: payloads[step]})
				continue
			}
			took = append(took, time.Since(begun[seq/steps]))
			delete(begun, seq/steps)
			if sent < jobs {
				start()
			}
		}
	}
	return took, nil
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
			conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(identity.Dialing()))
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
