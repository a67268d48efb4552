package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/pb/benchpb"
	"github.com/weirbuild/weir/workerd/spool"
)

// logs measures one worker's log through the leader to a client that follows
// it, against a plain gRPC stream of the same bytes.
func (b *bench) logs(ctx context.Context) error {
	size := int64(b.size(192, 32)) << 20
	got, err := b.logThroughput(ctx, size)
	if err != nil {
		return err
	}
	limit, err := b.plainStream(ctx, size)
	if err != nil {
		return err
	}
	b.show(shareOf("a log to its follower", got, limit, " MB/s", 0.5, "the limit: the same bytes by a plain gRPC stream, stored nowhere"))
	return nil
}

func (b *bench) logThroughput(ctx context.Context, size int64) (rate float64, err error) {
	r, err := b.newRig(ctx, "logs", local.Config{}, &pb.PoolConfig{LogLimitBytes: 1 << 30})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	started, workers, stop, err := r.here(ctx, 1, held)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cl, err := r.Client(r.submit, client.Options{Patience: time.Minute})
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	req := trueJob()
	req.Spec.GetCommand().Argv = []string{"sleep", "infinity"}
	reply, err := cl.Submit(ctx, req)
	if err != nil {
		return 0, err
	}
	if err := started.await(ctx, reply.Job); err != nil {
		return 0, err
	}
	lease, err := heldLease(workers[0])
	if err != nil {
		return 0, err
	}
	log, err := workers[0].spool.Create(spool.ID{Lease: lease, Job: reply.Job, Attempt: 1})
	if err != nil {
		return 0, err
	}
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	g.Go(func() error {
		defer workers[0].finish(lease)
		return write(log, size)
	})
	var read int64
	g.Go(func() error {
		return cl.Tail(ctx, &pb.ReadLogRequest{Job: reply.Job, Attempt: 1, Follow: true}, func(d *pb.LogData) error {
			read += int64(len(d.Data))
			return nil
		})
	})
	if err = g.Wait(); err == nil && read != size {
		err = fmt.Errorf("the follower read %d of %d bytes", read, size)
	}
	return float64(read) / 1e6 / time.Since(began).Seconds(), err
}

// write writes a whole log as fast as the spool takes it.
func write(log *spool.Log, size int64) error {
	chunk := make([]byte, 64<<10)
	for range size / int64(len(chunk)) {
		if _, err := log.Write(chunk); err != nil {
			return err
		}
	}
	_, err := log.Finish()
	return err
}

func heldLease(w *simWorker) (uint64, error) {
	for _, a := range w.Running() {
		return a.Lease, nil
	}
	return 0, errors.New("the simulated worker holds no lease")
}

// finish ends a held job.
func (w *simWorker) finish(lease uint64) {
	f := &pb.FinishedAttempt{Lease: lease, Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}}
	w.mu.Lock()
	delete(w.held, lease)
	w.results[lease] = f
	w.mu.Unlock()
	w.session.Finished(f)
}

func (b *bench) plainStream(ctx context.Context, size int64) (rate float64, err error) {
	raw, err := b.rawCluster(ctx, "logs-limit", "bolt", "empty")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	conn, err := dialRawLeader(ctx, raw)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	stream, err := benchpb.NewBenchClient(conn).Bytes(ctx, &benchpb.BytesRequest{Bytes: size})
	if err != nil {
		return 0, err
	}
	for read := int64(0); read < size; {
		chunk, err := stream.Recv()
		if err != nil {
			return 0, err
		}
		read += int64(len(chunk.Data))
	}
	return float64(size) / 1e6 / time.Since(began).Seconds(), nil
}
