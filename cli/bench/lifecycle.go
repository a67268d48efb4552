package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
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

func (b *bench) stores() []string {
	if len(b.Stores) > 0 {
		return b.Stores
	}
	return []string{raftnode.Bolt, raftnode.WAL}
}

func (b *bench) loads() []int {
	if len(b.Loads) > 0 {
		return b.Loads
	}
	return []int{64, 256, 1024}
}

// lifecycle measures submit, lease, finish and a sealed log of 1 KB.
func (b *bench) lifecycle(ctx context.Context) error {
	for _, store := range b.stores() {
		for _, inFlight := range b.loads() {
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
	limit, err := b.limitRun(ctx, store, inFlight, jobs, real.proposals)
	if err != nil {
		return fmt.Errorf("the limit: %w", err)
	}
	ratio := real.rate / limit.rate
	name := fmt.Sprintf("lifecycles/s, %s, %d in flight", store, inFlight)
	b.row(name, fmt.Sprintf("%.0f (p50 %v p99 %v)", real.rate, ms(real.p50), ms(real.p99)),
		fmt.Sprintf("limit %.0f/s: %.2f, want 0.6", limit.rate, ratio), ratio >= 0.6)
	fmt.Fprintf(b.Err, "(%d proposals of %d bytes a job; processor time a job: %s; of the limit: %s)\n",
		len(real.proposals), real.proposals[0], real.cost, limit.cost)
	return nil
}

// throughput is what one run of jobs showed.
type throughput struct {
	rate      float64
	p50, p99  time.Duration
	proposals []int // bytes of each that a job took
	cost      cost
}

// realRun runs jobs through a cluster with simulated workers and clients in
// processes of their own. The end is the last sealed log.
func (b *bench) realRun(ctx context.Context, store string, inFlight, jobs int) (t throughput, err error) {
	r, err := b.newRig(ctx, fmt.Sprintf("lifecycle-%s-%d", store, inFlight), local.Config{LogStore: store, Profile: "default"}, &pb.PoolConfig{KeepJobs: 1_000_000})
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
	before, err := committed(ctx, r.Cluster)
	if err != nil {
		return t, err
	}
	spent := startCost(r.Cluster)
	spent.add("workers", workers.cmd.Process.Pid)
	clients, err := b.spawn(ctx, "sim-clients", "--connect", r.submitCap, "--pool", poolName,
		"--jobs", strconv.Itoa(jobs), "--in-flight", strconv.Itoa(inFlight))
	if err != nil {
		return t, err
	}
	defer clients.stop()
	spent.add("clients", clients.cmd.Process.Pid)
	if t, err = awaitSealed(clients, workers, jobs); err != nil {
		return t, err
	}
	t.cost = spent.per(jobs)
	after, err := committed(ctx, r.Cluster)
	t.proposals = after.minus(before).perJob(jobs)
	return t, err
}

// awaitSealed returns when every job has settled and every log is sealed.
func awaitSealed(clients, workers *child, jobs int) (t throughput, err error) {
	var submitted clientsReport
	if err := clients.next(&submitted); err != nil {
		return t, err
	}
	if submitted.Failed > 0 {
		return t, fmt.Errorf("%d of %d jobs did not succeed", submitted.Failed, submitted.Jobs)
	}
	var w workersReport
	for w.Granted < int64(jobs) || w.Unsealed > 0 {
		if err := workers.next(&w); err != nil {
			return t, err
		}
	}
	if w.Granted > int64(jobs) {
		return t, fmt.Errorf("%d jobs made %d attempts", jobs, w.Granted)
	}
	took := time.Duration(max(w.Unix, submitted.End) - submitted.Begin)
	return throughput{rate: float64(jobs) / took.Seconds(), p50: submitted.P50, p99: submitted.P99}, nil
}

// limitRun makes the same proposals, over as many streams of the same kinds,
// into an empty state: the first of a job in a message of its own, as clients
// submit, the others in shared messages, as workers report, with the log's bytes.
func (b *bench) limitRun(ctx context.Context, store string, inFlight, jobs int, proposals []int) (t throughput, err error) {
	raw, err := b.rawCluster(ctx, fmt.Sprintf("limit-%s-%d", store, inFlight), store, "empty")
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	spent := startCost(raw)
	c, err := b.startLoad(ctx, raw, LoadConfig{
		Jobs: jobs, InFlight: inFlight, Sizes: proposals, Submits: streams, Sessions: simWorkers, LogBytes: simLogBytes,
	})
	if err != nil {
		return t, err
	}
	defer c.stop()
	spent.add("load", c.cmd.Process.Pid)
	var report clientsReport
	if err := c.next(&report); err != nil {
		return t, err
	}
	took := time.Duration(report.End - report.Begin)
	return throughput{rate: float64(report.Jobs) / took.Seconds(), p50: report.P50, p99: report.P99, cost: spent.per(jobs)}, nil
}

func (b *bench) rawCluster(ctx context.Context, name, store, machine string) (*local.Cluster, error) {
	dir, err := b.dir(name)
	if err != nil {
		return nil, err
	}
	return local.Start(ctx, local.Config{Dir: dir, Binary: b.Binary, LogStore: store, Profile: "default", Command: []string{"bench", "raw-node"}, Flags: []string{"--machine", machine}})
}

// startLoad runs the proposing process against a raw cluster.
func (b *bench) startLoad(ctx context.Context, raw *local.Cluster, c LoadConfig) (*child, error) {
	sizes := make([]string, len(c.Sizes))
	for i, s := range c.Sizes {
		sizes[i] = strconv.Itoa(s)
	}
	return b.spawn(ctx, "raw-load", "--addresses", strings.Join(raw.Addresses(), ","), "--tls-dir", raw.Nodes[0].TLSDir(),
		"--jobs", strconv.Itoa(c.Jobs), "--in-flight", strconv.Itoa(c.InFlight), "--sizes", strings.Join(sizes, ","),
		"--submits", strconv.Itoa(c.Submits), "--sessions", strconv.Itoa(c.Sessions), "--log-bytes", strconv.Itoa(c.LogBytes))
}

// tally is what a cluster has committed.
type tally struct{ commands, bytes float64 }

func (t tally) minus(o tally) tally { return tally{t.commands - o.commands, t.bytes - o.bytes} }

// perJob is the sizes of a job's proposals, all alike.
func (t tally) perJob(jobs int) []int {
	sizes := make([]int, max(1, int(math.Round(t.commands/float64(jobs)))))
	for i := range sizes {
		sizes[i] = int(t.bytes / float64(jobs*len(sizes)))
	}
	return sizes
}
