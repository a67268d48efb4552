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
		all = append(all, w)
		g.Go(func() error { return w.run(gctx) })
	}
	stop := func() error { cancel(); return g.Wait() }
	if err := r.waitWorkers(ctx, int32(n)); err != nil {
		return s, all, stop, errors.Join(err, stop())
	}
	return s, all, stop, nil
}

// latency measures submit to start, one at a time, against one raw apply.
func (b *bench) latency(ctx context.Context) error {
	jobs := b.size(500, 100)
	for _, store := range b.stores() {
		got, err := b.submitToStart(ctx, store, jobs)
		if err != nil {
			return err
		}
		raw, err := b.rawCluster(ctx, "latency-limit-"+store, store, "empty")
		if err != nil {
			return err
		}
		limit, err := b.rawApply(ctx, raw, jobs)
		if err := errors.Join(err, raw.Close()); err != nil {
			return err
		}
		ratio := float64(got.at(0.5)) / float64(limit.P50)
		b.row("submit to start, "+store+", p50", fmt.Sprintf("%v (p99 %v)", ms(got.at(0.5)), ms(got.at(0.99))),
			fmt.Sprintf("one raw apply %v: %.2f, want 1.5", ms(limit.P50), ratio), ratio <= 1.5)
	}
	return nil
}

// rawApply measures proposals as large as a submit, one at a time.
func (b *bench) rawApply(ctx context.Context, raw *local.Cluster, jobs int) (r clientsReport, err error) {
	c, err := b.startLoad(ctx, raw, LoadConfig{Jobs: jobs, InFlight: 1, Sizes: []int{submitBytes}, Submits: 1})
	if err != nil {
		return r, err
	}
	defer c.stop()
	return r, c.next(&r)
}

func (b *bench) submitToStart(ctx context.Context, store string, jobs int) (took sample, err error) {
	r, err := b.newRig(ctx, "latency-"+store, local.Config{LogStore: store}, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	started, workers, stop, err := r.here(ctx, 2, func(*pb.Grant) bool { return false })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cl, err := r.leaderClient(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for range jobs {
		began := time.Now()
		reply, err := cl.Submit(ctx, trueJob())
		if err != nil {
			return nil, err
		}
		if err := started.await(ctx, reply.Job); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if err := waitQuiet(ctx, workers); err != nil {
			return nil, err
		}
	}
	return took, nil
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
