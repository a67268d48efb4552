package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/pb/benchpb"
)

// proposer puts commands straight into the replicated state.
type proposer struct {
	conn grpc.ClientConnInterface
	jobs uint64        // submitted: the state numbers them from 1
	late time.Duration // how far the state's time is ahead of the clock
}

func newProposer(ctx context.Context, conn grpc.ClientConnInterface) (*proposer, error) {
	p := &proposer{conn: conn}
	return p, p.all(ctx, []*pb.Command{
		{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: poolName, Config: roomy(0)}}},
		{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "load", Rate: 10}}},
	})
}

// roomy is a pool for more jobs than are ever queued here, that keeps so many
// finished ones (0: the default).
func roomy(keep int64) *pb.PoolConfig {
	return &pb.PoolConfig{MaxQueued: 2_000_000, MaxQueuedPerClient: 2_000_000, KeepJobs: keep}
}

// all commits the commands, a thousand a message, and waits for them.
func (p *proposer) all(ctx context.Context, commands []*pb.Command) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := benchpb.NewBenchClient(p.conn).Propose(ctx)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(commands, 1000) {
		if err := send(stream, 0, some...); err != nil {
			return err
		}
		for left := len(some); left > 0; {
			seqs, err := receive(stream)
			if err != nil {
				return err
			}
			left -= len(seqs)
		}
	}
	return nil
}

// send proposes commands, the first of which has the number seq.
func send(stream benchpb.Bench_ProposeClient, seq uint64, commands ...*pb.Command) error {
	out := &benchpb.Commands{}
	for i, c := range commands {
		raw, err := proto.Marshal(c)
		if err != nil {
			return err
		}
		out.Commands = append(out.Commands, &benchpb.Command{Seq: seq + uint64(i), Payload: raw})
	}
	return stream.Send(out)
}

func receive(stream benchpb.Bench_ProposeClient) (seqs []uint64, err error) {
	in, err := stream.Recv()
	if err == nil && in.Error != "" {
		err = errors.New("propose: " + in.Error)
	}
	return in.GetSeqs(), err
}

// stamp is the time of the next command.
func (p *proposer) stamp() int64 { return time.Now().Add(p.late).UnixMilli() }

func (p *proposer) submit() *pb.Command {
	p.jobs++
	spec, _ := proto.Marshal(&pb.JobSpec{ // cannot fail: it is made here
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "-C", "some/where", "test"}}},
		Git:  &pb.GitContext{Url: "https://git.example.org/some/project.git", Commits: []string{"0123456789abcdef0123456789abcdef01234567"}},
	})
	return &pb.Command{IssuedAtMs: p.stamp(), Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
		Client: "load", Pool: poolName, Spec: spec, SpecSha256: make([]byte, 32), Slots: 1,
		CacheHint: fmt.Sprintf("hint-%d", p.jobs%1000),
	}}}
}

// fill queues jobs.
func (p *proposer) fill(ctx context.Context, jobs int) error {
	return p.each(ctx, jobs, func(int) *pb.Command { return p.submit() })
}

// finish ends all jobs, and lets the time pass for which finished jobs are kept
// whatever the retention.
func (p *proposer) finish(ctx context.Context) error {
	err := p.each(ctx, int(p.jobs), func(i int) *pb.Command {
		return &pb.Command{IssuedAtMs: p.stamp(), Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(i + 1)}}}
	})
	p.late = fsm.MinKeep * time.Millisecond
	return err
}

// each commits n commands.
func (p *proposer) each(ctx context.Context, n int, command func(i int) *pb.Command) error {
	const some = 50_000
	for from := 0; from < n; from += some {
		batch := make([]*pb.Command, min(some, n-from))
		for i := range batch {
			batch[i] = command(from + i)
		}
		if err := p.all(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// shrink keeps 100 finished jobs of so many. It trims as a leader does: 500 jobs
// a command, with pauses of three times as long.
func (p *proposer) shrink(ctx context.Context, jobs uint64) error {
	update := &pb.Command{IssuedAtMs: p.stamp(), Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: poolName, Config: roomy(100)}}}
	if err := p.all(ctx, []*pb.Command{update}); err != nil {
		return err
	}
	for job := uint64(1); job+100 <= jobs; {
		trim := &pb.Trim{}
		for ; len(trim.Jobs) < 500 && job+100 <= jobs; job++ {
			trim.Jobs = append(trim.Jobs, job)
		}
		began := time.Now()
		if err := p.all(ctx, []*pb.Command{{IssuedAtMs: p.stamp(), Op: &pb.Command_Trim{Trim: trim}}}); err != nil {
			return err
		}
		select {
		case <-time.After(max(3*time.Since(began), 10*time.Millisecond)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// steadyPace is 500 commits a second.
const steadyPace = 2 * time.Millisecond

// steady submits a job every 2 ms, whether or not the last one is committed yet,
// until done is closed, and returns how long each took from when it was due.
func (p *proposer) steady(ctx context.Context, done <-chan struct{}) (took sample, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := benchpb.NewBenchClient(p.conn).Propose(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	due := func(n uint64) time.Time { return began.Add(time.Duration(n) * steadyPace) }
	var g errgroup.Group
	g.Go(func() error {
		defer stream.CloseSend()
		for n := uint64(0); ; n++ {
			select {
			case <-done:
				return nil
			case <-time.After(time.Until(due(n))):
			}
			if err := send(stream, n, p.submit()); err != nil {
				return err
			}
		}
	})
	g.Go(func() error {
		for {
			seqs, err := receive(stream)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				cancel()
				return err
			}
			for _, n := range seqs {
				took = append(took, time.Since(due(n)))
			}
		}
	})
	return took, g.Wait()
}
