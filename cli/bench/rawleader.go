package bench

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb/benchpb"
)

// rawCluster starts three raw nodes.
func (b *bench) rawCluster(ctx context.Context, name, store, machine, profile string) (*local.Cluster, error) {
	dir, err := b.dir(name)
	if err != nil {
		return nil, err
	}
	return local.Start(ctx, local.Config{
		Dir: dir, Binary: b.Binary, LogStore: store, Profile: profile,
		Command: []string{"bench", "raw-node"}, Flags: []string{"--machine", machine},
	})
}

// rawLeader is a connection to the leader of a cluster of raw nodes.
type rawLeader struct {
	*grpc.ClientConn
	address string
	pins    []mtls.Pin
}

// dialRawLeader waits for such a cluster to have a leader.
func dialRawLeader(ctx context.Context, c *local.Cluster) (*rawLeader, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		for _, n := range c.Nodes {
			l, err := dialRaw(n)
			if err != nil {
				return nil, err
			}
			if r, err := l.ask(ctx); err == nil && r.Leads {
				return l, nil
			}
			l.Close()
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("the limit's cluster found no leader within a minute")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dialRaw connects to a raw node, with its own certificate.
func dialRaw(n *local.Node) (*rawLeader, error) {
	dir := n.TLSDir()
	identity, err := mtls.LoadNode(mtls.Files{Cert: dir + "/node.pem", Key: dir + "/node-key.pem", CA: dir + "/ca.pem"}, nil)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+n.Address, grpc.WithTransportCredentials(identity.Dialing()),
		grpc.WithInitialWindowSize(client.StreamWindow), grpc.WithInitialConnWindowSize(client.ConnWindow))
	if err != nil {
		return nil, err
	}
	return &rawLeader{conn, n.Address, identity.Pins()}, nil
}

func (l *rawLeader) ask(ctx context.Context) (*benchpb.LeaderReply, error) {
	return benchpb.NewBenchClient(l).Leader(ctx, &benchpb.LeaderRequest{})
}

func (l *rawLeader) tally(ctx context.Context) (tally, error) {
	r, err := l.ask(ctx)
	return tally{float64(r.GetCommands()), float64(r.GetBytes())}, err
}

// memory is what lives on the leader's heap.
func (l *rawLeader) memory(ctx context.Context) (float64, error) {
	r, err := benchpb.NewBenchClient(l).Memory(ctx, &benchpb.MemoryRequest{})
	return float64(r.GetBytes()), err
}

// applier opens a stream and returns what measures one command of a size on it.
func (l *rawLeader) applier(ctx context.Context, size int) (apply func() (time.Duration, error), err error) {
	stream, err := benchpb.NewBenchClient(l).Propose(ctx)
	if err != nil {
		return nil, err
	}
	payload := make([]byte, size)
	return func() (time.Duration, error) {
		began := time.Now()
		if err := stream.Send(&benchpb.Commands{Commands: []*benchpb.Command{{Payload: payload}}}); err != nil {
			return 0, err
		}
		done, err := stream.Recv()
		if err == nil && done.Error != "" {
			err = errors.New("propose: " + done.Error)
		}
		return time.Since(began), err
	}, nil
}
