package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// lostBackoff is the pool's wait between a lost attempt and the next. The
// default, a second, would be all that the mark leaves beside the lease's TTL.
const lostBackoff = 500 * time.Millisecond

// worker measures real workers that run real processes.
func (b *bench) worker(ctx context.Context) (err error) {
	r, err := b.newRig(ctx, "worker", local.Config{}, &pb.PoolConfig{BackoffMs: lostBackoff.Milliseconds()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	flags := []string{"--pool", poolName, "--slots", "8", "--allow-command", "--log-level", "warn"}
	if os.Geteuid() == 0 {
		flags = append(flags, "--job-user", "nobody")
	}
	procs := map[string]*local.Process{}
	for _, name := range []string{"w1", "w2"} {
		if procs[name], err = r.StartWorker(name, r.workerCap, flags...); err != nil {
			return err
		}
	}
	if err := r.waitWorkers(ctx, 2); err != nil {
		return err
	}
	cl, err := r.Client(r.submit, client.Options{Patience: time.Minute})
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := b.manyTrue(ctx, cl); err != nil {
		return err
	}
	if err := b.oneTrue(ctx, cl); err != nil {
		return err
	}
	return b.killWorker(ctx, cl, procs)
}

// manyTrue runs 1,000 /bin/true.
func (b *bench) manyTrue(ctx context.Context, cl *client.Client) error {
	jobs := b.size(1000, 200)
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for range jobs {
		g.Go(func() error {
			_, err := submitAndFollow(ctx, cl, trueJob())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	took := time.Since(began)
	b.show(atMost(fmt.Sprintf("%d x /bin/true", jobs), took, 10*time.Second, "two workers of 8 slots; Nomad, 1,000 jobs: 490s"))
	return nil
}

func (b *bench) oneTrue(ctx context.Context, cl *client.Client) error {
	var took sample
	for range b.size(50, 10) {
		began := time.Now()
		if _, err := submitAndFollow(ctx, cl, trueJob()); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	b.show(atMost("one /bin/true to settled, p50", took.at(0.5), 100*time.Millisecond, fmt.Sprintf("p99 %s; Nomad: 1.07s p50", short(took.at(0.99)))))
	return nil
}

// killWorker measures from a worker's SIGKILL to its job's start elsewhere.
func (b *bench) killWorker(ctx context.Context, cl *client.Client, procs map[string]*local.Process) error {
	req := trueJob()
	req.Spec.GetCommand().Argv = []string{"sh", "-c", "sleep 60"}
	reply, err := cl.Submit(ctx, req)
	if err != nil {
		return err
	}
	first, err := waitAttempt(ctx, cl, reply.Job, 1)
	if err != nil {
		return err
	}
	began := time.Now()
	procs[first.Worker].Kill()
	second, err := waitAttempt(ctx, cl, reply.Job, 2)
	if err != nil {
		return err
	}
	took := time.Since(began)
	if _, err := cl.Jobs().Cancel(ctx, &pb.CancelRequest{Id: reply.Job}); err != nil {
		return err
	}
	b.show(atMost("worker killed to job on another", took, 5*time.Second,
		fmt.Sprintf("%s to %s; a lease's time to live is 4s, back-off %v; Nomad: 15-30s", first.Worker, second.Worker, lostBackoff)))
	return nil
}

func waitAttempt(ctx context.Context, cl *client.Client, job uint64, number uint32) (found *pb.Attempt, err error) {
	err = poll(ctx, fmt.Sprintf("attempt %d of job %d", number, job), func() (bool, error) {
		j, err := cl.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: job})
		for _, a := range j.GetAttempts() {
			if a.Number == number {
				found = a
			}
		}
		return found != nil, err
	})
	return found, err
}

func submitAndFollow(ctx context.Context, cl *client.Client, req *pb.SubmitRequest) (*pb.Job, error) {
	reply, err := cl.Submit(ctx, req)
	if err != nil {
		return nil, err
	}
	var job *pb.Job
	err = cl.Watch(ctx, &pb.WatchRequest{Id: reply.Job}, func(e *pb.JobEvent) error { job = e.Job; return nil })
	if err == nil && job.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		err = fmt.Errorf("job %d ended as %v: %s", job.Id, job.Outcome.GetKind(), job.Outcome.GetMessage())
	}
	return job, err
}
