package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
)

// target is a cluster that simulated clients and workers, in processes of their
// own, can put under load: the real one, or the limit's.
type target struct {
	b         *bench
	cluster   *local.Cluster
	close     func() error
	workers   *child
	submitCap string                               // file
	tally     func(context.Context) (tally, error) // what it has committed

	granted int64 // to the workers, in earlier runs
}

// throughput is what one run of jobs showed.
type throughput struct {
	rate     float64
	p50, p99 time.Duration
	perJob   tally
	cost     cost
}

func (b *bench) realTarget(ctx context.Context, name, store string) (*target, error) {
	r, err := b.newRig(ctx, name, local.Config{LogStore: store, Profile: "default"}, &pb.PoolConfig{KeepJobs: 1_000_000})
	if err != nil {
		return nil, err
	}
	t := &target{
		b: b, cluster: r.Cluster, close: r.close, submitCap: r.submitCap,
		tally: func(ctx context.Context) (tally, error) { return committedBy(ctx, r.Cluster) },
	}
	if err := t.start(ctx, r.workerCap); err != nil {
		return nil, errors.Join(err, t.end())
	}
	if err := r.waitWorkers(ctx, simWorkers); err != nil {
		return nil, errors.Join(err, t.end())
	}
	return t, nil
}

// bareTarget is the limit: the same commands and messages, with no service
// behind them (bare.go).
func (b *bench) bareTarget(ctx context.Context, name, store string) (*target, error) {
	raw, err := b.rawCluster(ctx, name, store, "empty", "default")
	if err != nil {
		return nil, err
	}
	t := &target{b: b, cluster: raw, close: raw.Close, submitCap: filepath.Join(raw.Dir, "any.cap")}
	leader, err := dialRawLeader(ctx, raw)
	if err != nil {
		return nil, errors.Join(err, t.end())
	}
	t.close = func() error { return errors.Join(leader.Close(), raw.Close()) }
	t.tally = leader.tally
	anything, err := capability.New(capability.NewToken(), []string{leader.address}, leader.pins)
	if err != nil {
		return nil, errors.Join(err, t.end())
	}
	if err := anything.Save(t.submitCap); err != nil {
		return nil, errors.Join(err, t.end())
	}
	if err := t.start(ctx, t.submitCap); err != nil {
		return nil, errors.Join(err, t.end())
	}
	err = poll(ctx, "the limit's workers", func() (bool, error) {
		r, err := leader.ask(ctx)
		return r.GetWorkers() == simWorkers, err
	})
	if err != nil {
		return nil, errors.Join(err, t.end())
	}
	return t, nil
}

func (t *target) start(ctx context.Context, workerCap string) (err error) {
	t.workers, err = t.b.spawn(ctx, "sim-workers", "--connect", workerCap, "--pool", poolName,
		"--workers", strconv.Itoa(simWorkers), "--slots", strconv.Itoa(simSlots), "--log-bytes", strconv.Itoa(simLogBytes))
	return err
}

// end stops the workers and the cluster.
func (t *target) end() error {
	if t.workers != nil {
		t.workers.stop()
	}
	return t.close()
}

// run puts so many jobs through the cluster. It ends with the last sealed log.
func (t *target) run(ctx context.Context, inFlight, jobs int) (got throughput, err error) {
	before, err := t.tally(ctx)
	if err != nil {
		return got, err
	}
	spent := startCost(t.cluster)
	spent.add("workers", t.workers.cmd.Process.Pid)
	clients, err := t.b.spawn(ctx, "sim-clients", "--connect", t.submitCap, "--pool", poolName,
		"--jobs", strconv.Itoa(jobs), "--in-flight", strconv.Itoa(inFlight))
	if err != nil {
		return got, err
	}
	defer clients.stop()
	spent.add("clients", clients.cmd.Process.Pid)
	if got, err = t.awaitSealed(clients, jobs); err != nil {
		return got, err
	}
	got.cost = spent.per(jobs)
	after, err := t.tally(ctx)
	got.perJob = after.minus(before).over(jobs)
	return got, err
}

// awaitSealed returns when every job has settled and every log is sealed.
func (t *target) awaitSealed(clients *child, jobs int) (got throughput, err error) {
	var submitted clientsReport
	if err := clients.next(&submitted); err != nil {
		return got, err
	}
	if submitted.Failed > 0 {
		return got, fmt.Errorf("%d of %d jobs did not succeed", submitted.Failed, submitted.Jobs)
	}
	t.granted += int64(jobs)
	var w workersReport
	for w.Granted < t.granted || w.Unsealed > 0 {
		if err := t.workers.next(&w); err != nil {
			return got, err
		}
	}
	if w.Granted > t.granted {
		return got, fmt.Errorf("%d jobs made %d attempts", t.granted, w.Granted)
	}
	took := time.Duration(max(w.Unix, submitted.End) - submitted.Begin)
	return throughput{rate: float64(jobs) / took.Seconds(), p50: submitted.P50, p99: submitted.P99}, nil
}

// tally is what a cluster has committed.
type tally struct{ commands, bytes float64 }

func (t tally) minus(o tally) tally { return tally{t.commands - o.commands, t.bytes - o.bytes} }

func (t tally) over(jobs int) tally {
	return tally{t.commands / float64(jobs), t.bytes / float64(jobs)}
}

// like says whether two runs proposed the same: to a twentieth.
func (t tally) like(o tally) bool {
	near := func(a, b float64) bool { return math.Abs(a-b) <= max(a, b)/20 }
	return near(t.commands, o.commands) && near(t.bytes, o.bytes)
}

func (t tally) String() string {
	return fmt.Sprintf("%.2f commands of %.0f bytes", t.commands, t.bytes/max(t.commands, 1))
}
