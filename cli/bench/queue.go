package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/pb/benchpb"
)

// queue holds a million queued jobs in the real state, on three real nodes
// without the service around them.
func (b *bench) queue(ctx context.Context) (err error) {
	jobs := b.size(1_000_000, 100_000)
	raw, err := b.rawCluster(ctx, "queue", "wal", "fsm")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	conn, err := dialRawLeader(ctx, raw.Nodes[0].TLSDir(), raw.Addresses())
	if err != nil {
		return err
	}
	defer conn.Close()
	before, err := worstResident(raw)
	if err != nil {
		return err
	}
	p, err := newProposer(ctx, conn)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := p.fill(jobs); err != nil {
		return err
	}
	after, err := worstResident(raw)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.Out, "  %d jobs queued in %v; a node grew from %.0f to %.0f MB resident: %.0f bytes a job, garbage included\n",
		jobs, time.Since(began).Round(100*time.Millisecond), before, after, (after-before)*(1<<20)/float64(jobs))
	if err := b.snapshotPause(ctx, raw, p); err != nil {
		return err
	}
	return b.restart(ctx, raw)
}

func worstResident(c *local.Cluster) (worst float64, err error) {
	for _, n := range c.Nodes {
		mb, err := residentMB(n.Process.Pid())
		if err != nil {
			return 0, err
		}
		worst = max(worst, mb)
	}
	return worst, nil
}

// proposer submits jobs straight into the replicated state.
type proposer struct {
	stream benchpb.Bench_ProposeClient
	next   uint64
}

func newProposer(ctx context.Context, conn *grpc.ClientConn) (*proposer, error) {
	stream, err := benchpb.NewBenchClient(conn).Propose(ctx)
	if err != nil {
		return nil, err
	}
	p := &proposer{stream: stream}
	return p, p.all([]*pb.Command{
		{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: poolName, Config: &pb.PoolConfig{MaxQueued: 2_000_000, MaxQueuedPerClient: 2_000_000}}}},
		{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "load", Rate: 10}}},
	})
}

// all commits the commands and waits for them.
func (p *proposer) all(commands []*pb.Command) error {
	out := &benchpb.Commands{}
	for _, c := range commands {
		raw, err := proto.Marshal(c)
		if err != nil {
			return err
		}
		p.next++
		out.Commands = append(out.Commands, &benchpb.Command{Seq: p.next, Payload: raw})
	}
	if err := p.stream.Send(out); err != nil {
		return err
	}
	for left := len(commands); left > 0; {
		in, err := p.stream.Recv()
		if err != nil {
			return err
		}
		if in.Error != "" {
			return errors.New("propose: " + in.Error)
		}
		left -= len(in.Seqs)
	}
	return nil
}

func (p *proposer) submit(now time.Time) *pb.Command {
	p.next++
	spec, _ := proto.Marshal(&pb.JobSpec{ // cannot fail: it is made here
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "-C", "some/where", "test"}}},
		Git:  &pb.GitContext{Url: "https://git.example.org/some/project.git", Commits: []string{"0123456789abcdef0123456789abcdef01234567"}},
	})
	return &pb.Command{IssuedAtMs: now.UnixMilli(), Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
		Client: "load", Pool: poolName, Spec: spec, SpecSha256: make([]byte, 32), Slots: 1,
		CacheHint: fmt.Sprintf("hint-%d", p.next%1000), Key: nil,
	}}}
}

// fill queues jobs, a thousand a message.
func (p *proposer) fill(jobs int) error {
	now := time.Now()
	for done := 0; done < jobs; {
		batch := make([]*pb.Command, min(1000, jobs-done))
		for i := range batch {
			batch[i] = p.submit(now)
		}
		if err := p.all(batch); err != nil {
			return err
		}
		done += len(batch)
	}
	return nil
}

// steady commits 500 commands a second for a while and returns how long each
// took.
func (p *proposer) steady(ctx context.Context, until <-chan struct{}, atLeast time.Duration) (sample, error) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var took sample
	for {
		select {
		case <-ctx.Done():
			return took, context.Cause(ctx)
		case <-tick.C:
		}
		select {
		case <-until:
			if time.Since(began) >= atLeast {
				return took, nil
			}
		default:
		}
		now := time.Now()
		if err := p.all([]*pb.Command{p.submit(now)}); err != nil {
			return took, err
		}
		took = append(took, time.Since(now))
	}
}

// snapshotPause compares a commit's p99 during snapshots on all nodes, one
// after the other as they take turns, with that without.
func (b *bench) snapshotPause(ctx context.Context, raw *local.Cluster, p *proposer) error {
	now := make(chan struct{})
	close(now)
	quiet, err := p.steady(ctx, now, time.Duration(b.size(15, 5))*time.Second)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var took []time.Duration
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		defer close(done)
		took, err = snapshots(gctx, raw)
		return err
	})
	during, err := p.steady(ctx, done, 0)
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	ratio := float64(during.at(0.99)) / float64(quiet.at(0.99))
	b.row("commit p99 at 500/s while nodes take snapshots", fmt.Sprintf("%v (max %v)", ms(during.at(0.99)), ms(during.max())),
		fmt.Sprintf("without %v: %.2f, want 2", ms(quiet.at(0.99)), ratio), ratio <= 2)
	fmt.Fprintf(b.Out, "  snapshots took %v\n", took)
	return nil
}

func snapshots(ctx context.Context, raw *local.Cluster) (took []time.Duration, err error) {
	dir := raw.Nodes[0].TLSDir()
	identity, err := mtls.LoadNode(mtls.Files{Cert: dir + "/node.pem", Key: dir + "/node-key.pem", CA: dir + "/ca.pem"}, nil)
	if err != nil {
		return nil, err
	}
	for _, n := range raw.Nodes {
		conn, err := grpc.NewClient("passthrough:///"+n.Address, grpc.WithTransportCredentials(identity.Dialing()))
		if err != nil {
			return nil, err
		}
		r, err := benchpb.NewBenchClient(conn).Snapshot(ctx, &benchpb.SnapshotRequest{})
		conn.Close()
		if err != nil {
			return nil, err
		}
		took = append(took, time.Duration(r.Micros)*time.Microsecond)
	}
	return took, nil
}

// restart measures how long a follower needs from its start to having the
// state again.
func (b *bench) restart(ctx context.Context, raw *local.Cluster) error {
	conn, err := dialRawLeader(ctx, raw.Nodes[0].TLSDir(), raw.Addresses())
	if err != nil {
		return err
	}
	defer conn.Close()
	i := 0
	if conn.Target() == "passthrough:///"+raw.Nodes[0].Address {
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
	dir := n.TLSDir()
	identity, err := mtls.LoadNode(mtls.Files{Cert: dir + "/node.pem", Key: dir + "/node-key.pem", CA: dir + "/ca.pem"}, nil)
	if err != nil {
		return err
	}
	again, err := grpc.NewClient("passthrough:///"+n.Address, grpc.WithTransportCredentials(identity.Dialing()))
	if err != nil {
		return err
	}
	defer again.Close()
	err = poll(ctx, "the restarted node", func() (bool, error) {
		again.ResetConnectBackoff()
		s, err := pb.NewMembershipClient(again).Status(ctx, &pb.StatusRequest{})
		return s.GetReady(), err
	})
	fmt.Fprintf(b.Out, "  a node's restart from disk took %v\n", time.Since(began).Round(10*time.Millisecond))
	return err
}
