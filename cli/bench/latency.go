package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// submitBytes is about the size of a small job's submit in the Raft log.
const submitBytes = 220

// starts tells when a job's grant reached its worker.
type starts struct{ ch chan uint64 }

func (s starts) started(g *pb.Grant) {
	select {
	case s.ch <- g.Job:
	default:
	}
}

// await returns once the job has started.
func (s starts) await(ctx context.Context, job uint64) error {
	for {
		select {
		case j := <-s.ch:
			if j >= job {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// here runs simulated workers in this process, so that one clock sees both the
// submit and the start.
func (r *rig) here(ctx context.Context, n int, hold func(*pb.Grant) bool) (starts, []*simWorker, func() error, error) {
	c, err := capability.Load(r.workerCap)
	if err != nil {
		return starts{}, nil, nil, err
	}
	s := starts{make(chan uint64, 4096)}
	ctx, cancel := context.WithCancel(ctx)
	g, gctx := errgroup.WithContext(ctx)
	var all []*simWorker
	for i := range n {
		w := newSimWorker(c, poolName, fmt.Sprintf("here%d", i+1), 64, 64)
		w.started, w.hold = s.started, hold
		close(w.mayShip)
		all = append(all, w)
		g.Go(func() error { return w.run(gctx) })
	}
	stop := func() error { cancel(); return g.Wait() }
	if err := r.waitWorkers(ctx, int32(n)); err != nil {
		return s, all, stop, errors.Join(err, stop())
	}
	return s, all, stop, nil
}

// latency measures submit to start, one at a time, against one raw apply: a
// command as large as a submit, by a stream to the leader of the limit's cluster.
// The two take turns, so that neither finds its processes warmer.
func (b *bench) latency(ctx context.Context) error {
	for _, store := range b.stores() {
		if err := b.patiently(ctx, func() error { return b.latencyOf(ctx, store) }); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func (b *bench) latencyOf(ctx context.Context, store string) (err error) {
	raw, err := b.rawCluster(ctx, "latency-limit-"+store, store, "empty", "local")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	leader, err := dialRawLeader(ctx, raw)
	if err != nil {
		return err
	}
	defer leader.Close()
	r, err := b.newRig(ctx, "latency-"+store, local.Config{LogStore: store}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	start, stop, err := r.starter(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	apply, err := leader.applier(ctx, submitBytes)
	if err != nil {
		return err
	}
	var got, limit sample
	for range b.size(500, 100) {
		g, err := start()
		if err != nil {
			return err
		}
		l, err := apply()
		if err != nil {
			return fmt.Errorf("one raw apply: %w", err)
		}
		got, limit = append(got, g), append(limit, l)
	}
	b.show(atMostOf("submit to start, "+store+", p50", got.at(0.5), limit.at(0.5), 1.5,
		fmt.Sprintf("p99 %s; of one raw apply %s", short(got.at(0.99)), short(limit.at(0.99)))))
	return nil
}

// starter returns what measures one job from submit to start, and then waits
// until the cluster is idle again.
func (r *rig) starter(ctx context.Context) (start func() (time.Duration, error), stop func() error, err error) {
	started, workers, end, err := r.here(ctx, 2, func(*pb.Grant) bool { return false })
	if err != nil {
		return nil, nil, err
	}
	cl, err := r.leaderClient(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	start = func() (time.Duration, error) {
		began := time.Now()
		reply, err := cl.Submit(ctx, trueJob())
		if err != nil {
			return 0, err
		}
		if err := started.await(ctx, reply.Job); err != nil {
			return 0, err
		}
		took := time.Since(began)
		return took, waitQuiet(ctx, workers)
	}
	return start, func() error { return errors.Join(cl.Close(), end()) }, nil
}

// waitQuiet returns once the cluster has recorded every result and sealed
// every log, so that the next job finds it idle.
func waitQuiet(ctx context.Context, workers []*simWorker) error {
	return poll(ctx, "the last job's log to be sealed", func() (bool, error) {
		for _, w := range workers {
			if w.unsealed() > 0 || len(w.Results()) > 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// leaderClient is a client whose first address is the leader's.
func (r *rig) leaderClient(ctx context.Context) (*client.Client, error) {
	leader, err := r.Leader(ctx, r.admin)
	if err != nil {
		return nil, err
	}
	addrs := []string{leader.Address}
	for _, a := range r.Addresses() {
		if a != leader.Address {
			addrs = append(addrs, a)
		}
	}
	c, err := capability.New(r.submit.Token(), addrs, r.submit.Pins())
	if err != nil {
		return nil, err
	}
	return client.New(c, client.Options{Patience: time.Minute})
}

func trueJob() *pb.SubmitRequest {
	return &pb.SubmitRequest{Pool: poolName, Spec: &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"/bin/true"}}}}}
}
