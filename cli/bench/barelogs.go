package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// bareLogs passes each log on to one other node, as a leader of three does, and
// keeps none.
type bareLogs struct {
	pb.UnimplementedNodeServiceServer

	mu      sync.Mutex
	peers   []*mail[*pb.LogReplica]
	sealers map[uint64]func() // by job: what to do once another node has its log
}

// copy sends a whole log to a peer, and calls sealed when that one has it.
func (b *bareLogs) copy(c *pb.LogChunk, sealed func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.peers) == 0 {
		return errors.New("there is no other node to copy logs to")
	}
	b.sealers[c.Lease] = sealed
	b.peers[c.Lease%uint64(len(b.peers))].add(&pb.LogReplica{
		Job: c.Lease, Attempt: 1, Offset: c.Offset, Data: c.Data, SealBytes: c.End.Bytes, SealSha256: c.End.Sha256,
	})
	return nil
}

// lead copies logs to the other nodes until ctx ends. What was on its way to a
// node that goes away is not sealed: such a run measures nothing.
func (b *bareLogs) lead(ctx context.Context, others []string, creds credentials.TransportCredentials, log hclog.Logger) {
	var all sync.WaitGroup
	for _, address := range others {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := b.copyTo(ctx, address, creds); ctx.Err() == nil {
					log.Warn("logs are not copied", "error", err)
				}
				select {
				case <-time.After(200 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	all.Wait()
}

func (b *bareLogs) copyTo(ctx context.Context, address string, creds credentials.TransportCredentials) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
		grpc.WithInitialWindowSize(client.StreamWindow), grpc.WithInitialConnWindowSize(client.ConnWindow))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := pb.NewNodeServiceClient(conn).ReplicateLogs(ctx, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("copy logs to %s: %w", address, err)
	}
	out := newMail[*pb.LogReplica]()
	b.mu.Lock()
	b.peers = append(b.peers, out)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.peers = slices.DeleteFunc(b.peers, func(o *mail[*pb.LogReplica]) bool { return o == out })
		b.mu.Unlock()
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			logs, err := out.take(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(&pb.LogReplicas{Logs: logs}); err != nil && !errors.Is(err, io.EOF) { // Recv says why
				return err
			}
		}
	})
	g.Go(func() error {
		for {
			acks, err := stream.Recv()
			if err != nil {
				return err
			}
			for _, a := range acks.Logs {
				if sealed := b.sealer(a.Job); sealed != nil {
					sealed()
				}
			}
		}
	})
	return g.Wait()
}

func (b *bareLogs) sealer(job uint64) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	sealed := b.sealers[job]
	delete(b.sealers, job)
	return sealed
}

// ReplicateLogs implements pb.NodeServiceServer.
func (b *bareLogs) ReplicateLogs(stream pb.NodeService_ReplicateLogsServer) error {
	acks := newMail[*pb.LogReplicaAck]()
	return serve(stream.Context(), func(ctx context.Context) error {
		for {
			all, err := acks.take(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(&pb.LogReplicaAcks{Logs: all}); err != nil {
				return err
			}
		}
	}, func(func(error)) error {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, l := range in.Logs {
			acks.add(&pb.LogReplicaAck{Job: l.Job, Attempt: l.Attempt, Stored: l.SealBytes, Durable: l.SealBytes, Sealed: true})
		}
		return nil
	})
}
