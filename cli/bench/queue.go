package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/pb/benchpb"
)

// queue holds a million jobs in the real state, on three real nodes without the
// service around them: queued at first, and then finished.
func (b *bench) queue(ctx context.Context) error {
	return b.patiently(ctx, func() error { return b.queueOnce(ctx) })
}

func (b *bench) queueOnce(ctx context.Context) (err error) {
	// With the patience of wan: who leads is not what is measured here.
	raw, err := b.rawCluster(ctx, "queue", "wal", "fsm", "wan")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	leader, err := dialRawLeader(ctx, raw)
	if err != nil {
		return err
	}
	defer leader.Close()
	p, err := newProposer(ctx, leader)
	if err != nil {
		return err
	}
	jobs := b.size(1_000_000, 100_000)
	if err := b.fill(ctx, leader, p, jobs); err != nil {
		return err
	}
	quiet, err := p.steady(ctx, elapsed(ctx, time.Duration(b.size(15, 5))*time.Second))
	if err != nil {
		return err
	}
	if err := b.snapshotPause(ctx, raw, p, quiet); err != nil {
		return err
	}
	if err := b.restart(ctx, raw); err != nil {
		return err
	}
	return b.trim(ctx, p)
}

// fill queues the jobs and shows what they take.
func (b *bench) fill(ctx context.Context, leader *rawLeader, p *proposer, jobs int) error {
	before, err := leader.memory(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := p.fill(ctx, jobs); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := leader.memory(ctx)
	if err != nil {
		return err
	}
	b.show(atMostNumber("a queued job in the state", (after-before)/float64(jobs), 1024, " B",
		fmt.Sprintf("of %d, queued in %s: the heap grew to %.0f MB", jobs, short(took), after/(1<<20))))
	return nil
}

// elapsed is closed when so much time has passed.
func elapsed(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// snapshotPause compares a commit's p99 during snapshots on all nodes, one
// after the other as they take turns, with that without.
func (b *bench) snapshotPause(ctx context.Context, raw *local.Cluster, p *proposer, quiet sample) error {
	done := make(chan struct{})
	var took []time.Duration
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		defer close(done)
		took, err = snapshots(gctx, raw)
		return err
	})
	during, err := p.steady(ctx, done)
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	size, err := snapshotBytes(raw.Nodes[0])
	if err != nil {
		return err
	}
	b.show(atMostOf("commit p99 during snapshots", during.at(0.99), quiet.at(0.99), 2,
		fmt.Sprintf("at 500/s; worst %s, without snapshots %s", short(during.max()), short(quiet.max()))))
	b.show(fact("a snapshot", float64(size), " B", fmt.Sprintf("%.0f MB", float64(size)/1e6), fmt.Sprintf("written, paced, in %v", took)))
	return nil
}

func snapshots(ctx context.Context, raw *local.Cluster) (took []time.Duration, err error) {
	for _, n := range raw.Nodes {
		conn, err := dialRaw(n)
		if err != nil {
			return nil, err
		}
		r, err := benchpb.NewBenchClient(conn).Snapshot(ctx, &benchpb.SnapshotRequest{})
		conn.Close()
		if err != nil {
			return nil, err
		}
		took = append(took, (time.Duration(r.Micros) * time.Microsecond).Round(100*time.Millisecond))
	}
	return took, nil
}

// snapshotBytes is the size of a node's newest snapshot.
func snapshotBytes(n *local.Node) (size int64, err error) {
	files, err := filepath.Glob(filepath.Join(n.DataDir(), "snapshots", "*", "state.bin"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("find the snapshots of %s: %d of them, %w", n.Name, len(files), err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		size = max(size, info.Size())
	}
	return size, nil
}

// restart measures how long a follower needs from its start to having the
// state again.
func (b *bench) restart(ctx context.Context, raw *local.Cluster) error {
	leader, err := dialRawLeader(ctx, raw)
	if err != nil {
		return err
	}
	defer leader.Close()
	i := 0
	if leader.address == raw.Nodes[0].Address {
		i = 1
	}
	n := raw.Nodes[i]
	if err := n.Process.Stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := raw.StartNode(i); err != nil {
		return err
	}
	again, err := dialRaw(n)
	if err != nil {
		return err
	}
	defer again.Close()
	err = poll(ctx, "the restarted node", func() (bool, error) {
		again.ResetConnectBackoff()
		s, err := pb.NewMembershipClient(again).Status(ctx, &pb.StatusRequest{})
		return s.GetReady(), err
	})
	took := time.Since(began)
	b.show(fact("a node's restart from disk", took.Seconds(), "s", short(took), "until it has the state and follows"))
	return err
}

// trim has all jobs end and shrinks the pool to 100 finished ones, while commits
// go on.
func (b *bench) trim(ctx context.Context, p *proposer) error {
	jobs := p.jobs
	if err := p.finish(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	g, gctx := errgroup.WithContext(ctx)
	began := time.Now()
	g.Go(func() error {
		defer close(done)
		return p.shrink(gctx, jobs)
	})
	during, err := p.steady(ctx, done)
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	b.show(atMost("worst commit while jobs are trimmed", during.max(), 100*time.Millisecond,
		fmt.Sprintf("%d jobs in %s; at 500/s, p99 %s", jobs-100, short(time.Since(began)), short(during.at(0.99)))))
	return nil
}
