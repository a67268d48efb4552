package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

const (
	simWorkers  = 4
	simSlots    = 512
	simLogBytes = 1024
)

// proposalSizes are the bytes of a job's three proposals (the submit with its
// grant, the finish, the seal), as the real commands are encoded.
var proposalSizes = []int{220, 90, 190}

// lifecycle measures submit, lease, finish and a sealed log of 1 KB.
func (b *bench) lifecycle(ctx context.Context) error {
	for _, store := range []string{raftnode.Bolt, raftnode.WAL} {
		for _, inFlight := range []int{64, 256, 1024} {
			jobs := b.size(20*inFlight+8000, 4*inFlight+1000)
			if err := b.lifecycleOnce(ctx, store, inFlight, jobs); err != nil {
				return fmt.Errorf("%s, %d in flight: %w", store, inFlight, err)
			}
		}
	}
	return nil
}

func (b *bench) lifecycleOnce(ctx context.Context, store string, inFlight, jobs int) error {
	real, err := b.realRun(ctx, store, inFlight, jobs)
	if err != nil {
		return err
	}
	limit, err := b.limitRun(ctx, store, inFlight, jobs)
	if err != nil {
		return fmt.Errorf("the limit: %w", err)
	}
	ratio := real.rate / limit.rate
	name := fmt.Sprintf("lifecycles/s, %s, %d in flight", store, inFlight)
	b.row(name, fmt.Sprintf("%.0f (p50 %v p99 %v)", real.rate, ms(real.p50), ms(real.p99)),
		fmt.Sprintf("limit %.0f/s: %.2f, want 0.6", limit.rate, ratio), ratio >= 0.6)
	return nil
}

type throughput struct {
	rate     float64
	p50, p99 time.Duration
}

// realRun runs jobs through a cluster with simulated workers and clients in
// processes of their own. The end is the last sealed log.
func (b *bench) realRun(ctx context.Context, store string, inFlight, jobs int) (t throughput, err error) {
	r, err := b.newRig(ctx, fmt.Sprintf("lifecycle-%s-%d", store, inFlight), local.Config{LogStore: store}, &pb.PoolConfig{KeepJobs: 1_000_000})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	workers, err := b.spawn(ctx, "sim-workers", "--connect", r.workerCap, "--pool", poolName,
		"--workers", strconv.Itoa(simWorkers), "--slots", strconv.Itoa(simSlots), "--log-bytes", strconv.Itoa(simLogBytes))
	if err != nil {
		return t, err
	}
	defer workers.stop()
	if err := r.waitWorkers(ctx, simWorkers); err != nil {
		return t, err
	}
	clients, err := b.spawn(ctx, "sim-clients", "--connect", r.submitCap, "--pool", poolName,
		"--jobs", strconv.Itoa(jobs), "--in-flight", strconv.Itoa(inFlight))
	if err != nil {
		return t, err
	}
	defer clients.stop()
	var submitted clientsReport
	if err := clients.next(&submitted); err != nil {
		return t, err
	}
	if submitted.Failed > 0 {
		return t, fmt.Errorf("%d of %d jobs did not succeed", submitted.Failed, submitted.Jobs)
	}
	for {
		var w workersReport
		if err := workers.next(&w); err != nil {
			return t, err
		}
		if w.Granted >= int64(jobs) && w.Unsealed == 0 {
			end := max(w.Unix, submitted.End)
			if w.Granted > int64(jobs) {
				return t, fmt.Errorf("%d jobs made %d attempts", jobs, w.Granted)
			}
			return throughput{float64(jobs) / time.Duration(end-submitted.Begin).Seconds(), submitted.P50, submitted.P99}, nil
		}
	}
}

// limitRun makes as many proposals of the same sizes into an empty state.
func (b *bench) limitRun(ctx context.Context, store string, inFlight, jobs int) (t throughput, err error) {
	raw, err := b.rawCluster(ctx, fmt.Sprintf("limit-%s-%d", store, inFlight), store, "empty")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	report, err := b.load(ctx, raw, jobs, inFlight, proposalSizes)
	if err != nil {
		return t, err
	}
	return throughput{float64(report.Jobs) / time.Duration(report.End-report.Begin).Seconds(), report.P50, report.P99}, nil
}

func (b *bench) rawCluster(ctx context.Context, name, store, machine string) (*local.Cluster, error) {
	dir, err := b.dir(name)
	if err != nil {
		return nil, err
	}
	return local.Start(ctx, local.Config{Dir: dir, Binary: b.Binary, LogStore: store, Command: []string{"bench", "raw-node"}, Flags: []string{"--machine", machine}})
}

// load runs the proposing process against a raw cluster.
func (b *bench) load(ctx context.Context, raw *local.Cluster, jobs, inFlight int, sizes []int) (r clientsReport, err error) {
	n := 2*streams + simWorkers // as many streams as the real run has
	if inFlight < n {
		n = inFlight
	}
	texts := make([]string, len(sizes))
	for i, s := range sizes {
		texts[i] = strconv.Itoa(s)
	}
	c, err := b.spawn(ctx, "raw-load", "--addresses", strings.Join(raw.Addresses(), ","), "--tls-dir", raw.Nodes[0].TLSDir(),
		"--jobs", strconv.Itoa(jobs/n*n), "--in-flight", strconv.Itoa(inFlight), "--streams", strconv.Itoa(n), "--sizes", strings.Join(texts, ","))
	if err != nil {
		return r, err
	}
	defer c.stop()
	return r, c.next(&r)
}
