package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// heldJobs run through all failovers.
const heldJobs = 20

// held recognises a job that its worker keeps for ever.
func held(g *pb.Grant) bool {
	var spec pb.JobSpec
	return proto.Unmarshal(g.Spec, &spec) == nil && spec.GetCommand().GetArgv()[0] == "sleep"
}

// failover kills the leader again and again, and then transfers its office.
func (b *bench) failover(ctx context.Context) (err error) {
	r, err := b.newRig(ctx, "failover", local.Config{}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	started, workers, stop, err := r.here(ctx, 2, held)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cl, err := r.Client(r.submit, client.Options{Patience: time.Minute})
	if err != nil {
		return err
	}
	defer cl.Close()
	var jobs []uint64
	for range heldJobs {
		job, err := submitHeld(ctx, cl)
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
	}
	var kills, transfers sample
	for range b.size(50, 5) {
		if err := r.waitReady(ctx); err != nil {
			return err
		}
		took, err := r.killLeader(ctx, cl, started)
		if err != nil {
			return err
		}
		kills = append(kills, took)
	}
	for range b.size(50, 5) {
		if err := r.waitReady(ctx); err != nil {
			return err
		}
		took, err := r.transfer(ctx, cl, started)
		if err != nil {
			return err
		}
		transfers = append(transfers, took)
	}
	b.show(atMost("leader killed to job started, p50", kills.at(0.5), 600*time.Millisecond, fmt.Sprintf("%d kills", len(kills))))
	b.show(atMost("leader killed to job started, p99", kills.at(0.99), 1200*time.Millisecond, "worst "+short(kills.max())+"; Nomad: 4.1s p50, 8.2s worst"))
	b.show(atMost("office handed over to start, p99", transfers.at(0.99), 200*time.Millisecond,
		fmt.Sprintf("p50 %s, worst %s of %d", short(transfers.at(0.5)), short(transfers.max()), len(transfers))))
	return b.checkHeld(ctx, cl, jobs, workers)
}

// submitHeld submits a job that its worker keeps.
func submitHeld(ctx context.Context, cl *client.Client) (uint64, error) {
	reply, err := cl.Submit(ctx, &pb.SubmitRequest{Pool: poolName, Spec: &pb.JobSpec{
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"sleep", "infinity"}}}, TimeLimitMs: 24 * 3600 * 1000,
	}})
	return reply.GetJob(), err
}

// killLeader returns how long it took until a job submitted then had started.
func (r *rig) killLeader(ctx context.Context, cl *client.Client, started starts) (time.Duration, error) {
	leader, err := r.Leader(ctx, r.admin)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	leader.Process.Kill()
	took, err := submitAndAwait(ctx, cl, started, began)
	if err != nil {
		return 0, err
	}
	for i, n := range r.Nodes {
		if n == leader {
			return took, r.StartNode(i)
		}
	}
	return took, nil
}

func (r *rig) transfer(ctx context.Context, cl *client.Client, started starts) (time.Duration, error) {
	began := time.Now()
	if _, err := r.admin.Members().TransferLeadership(ctx, &pb.TransferLeadershipRequest{}); err != nil {
		return 0, err
	}
	return submitAndAwait(ctx, cl, started, began)
}

func submitAndAwait(ctx context.Context, cl *client.Client, started starts, began time.Time) (time.Duration, error) {
	reply, err := cl.Submit(ctx, trueJob())
	if err != nil {
		return 0, err
	}
	err = started.await(ctx, reply.Job)
	return time.Since(began), err
}

// checkHeld looks whether the jobs that ran all the time still do, in their
// first attempt.
func (b *bench) checkHeld(ctx context.Context, cl *client.Client, jobs []uint64, workers []*simWorker) error {
	kept := 0
	for _, id := range jobs {
		j, err := cl.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: id})
		if err != nil {
			return err
		}
		if j.State == pb.JobState_JOB_STATE_RUNNING && len(j.Attempts) == 1 {
			kept++
		}
	}
	var stopped int64
	for _, w := range workers {
		stopped += w.stopped.Load()
	}
	lost := max(len(jobs)-kept, int(stopped))
	b.show(atMostNumber("leases lost through all of it", float64(lost), 0, "", fmt.Sprintf("%d of %d jobs still run their first attempt", kept, len(jobs))))
	return nil
}
