package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/pb/benchpb"
	"github.com/weirbuild/weir/workerd/spool"
)

// logs measures one worker's log through the leader to a client that follows
// it, against a plain gRPC stream of the same bytes. The two take turns. The log
// is in the worker's spool, on disk, when the clock starts.
func (b *bench) logs(ctx context.Context) error {
	return b.patiently(ctx, func() error { return b.logsOnce(ctx) })
}

func (b *bench) logsOnce(ctx context.Context) (err error) {
	r, err := b.newRig(ctx, "logs", local.Config{}, &pb.PoolConfig{LogLimitBytes: 1 << 30})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	raw, err := b.rawCluster(ctx, "logs-limit", "bolt", "empty", "default")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	leader, err := dialRawLeader(ctx, raw)
	if err != nil {
		return err
	}
	defer leader.Close()
	cl, err := r.Client(r.submit, client.Options{Patience: time.Minute})
	if err != nil {
		return err
	}
	defer cl.Close()
	size := int64(b.size(128, 32)) << 20
	var got, limit []float64
	for i := range b.size(3, 1) {
		g, err := r.logThroughput(ctx, cl, fmt.Sprintf("writer%d", i+1), size)
		if err != nil {
			return err
		}
		l, err := plainStream(ctx, leader, size)
		if err != nil {
			return fmt.Errorf("a plain stream: %w", err)
		}
		got, limit = append(got, g), append(limit, l)
	}
	slices.Sort(got)
	slices.Sort(limit)
	b.show(shareOf("a log to its follower", got[len(got)/2], limit[len(limit)/2], " MB/s", 0.5,
		"the limit: the same bytes by a plain gRPC stream, stored nowhere"))
	return nil
}

// logThroughput has a worker of this name send the log of one job.
func (r *rig) logThroughput(ctx context.Context, cl *client.Client, name string, size int64) (rate float64, err error) {
	c, err := capability.Load(r.workerCap)
	if err != nil {
		return 0, err
	}
	s, w := starts{make(chan uint64, 1)}, newSimWorker(c, poolName, name, 1, 0)
	w.started, w.hold = s.started, held
	if w.spool, err = spool.Open(filepath.Join(r.Dir, name), 2*size); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.run(ctx) })
	defer func() { cancel(); err = errors.Join(err, g.Wait(), w.spool.Close()) }()
	job, err := submitHeld(ctx, cl)
	if err != nil {
		return 0, err
	}
	if err := s.await(ctx, job); err != nil {
		return 0, err
	}
	lease, err := heldLease(w)
	if err != nil {
		return 0, err
	}
	if err := write(w.spool, spool.ID{Lease: lease, Job: job, Attempt: 1}, size); err != nil {
		return 0, err
	}
	began := time.Now()
	close(w.mayShip)
	w.finish(lease)
	var read int64
	err = cl.Tail(ctx, &pb.ReadLogRequest{Job: job, Attempt: 1, Follow: true}, func(d *pb.LogData) error {
		read += int64(len(d.Data))
		return nil
	})
	took := time.Since(began)
	if err == nil && read != size {
		err = fmt.Errorf("the follower read %d of %d bytes", read, size)
	}
	return float64(read) / 1e6 / took.Seconds(), err
}

// write writes a whole log into a spool.
func write(to *spool.Spool, id spool.ID, size int64) error {
	log, err := to.Create(id)
	if err != nil {
		return err
	}
	for chunk, text := make([]byte, 64<<10), newBuildLog(); size > 0; size -= int64(len(chunk)) {
		_, _ = text.Read(chunk) // it never fails
		if _, err := log.Write(chunk); err != nil {
			return err
		}
	}
	_, err = log.Finish()
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

func plainStream(ctx context.Context, from *rawLeader, size int64) (rate float64, err error) {
	began := time.Now()
	stream, err := benchpb.NewBenchClient(from).Bytes(ctx, &benchpb.BytesRequest{Bytes: size})
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
