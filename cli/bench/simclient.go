package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// streams is over how many SubmitStreams a client process spreads its jobs.
const streams = 4

// ClientsConfig says what one client process submits.
type ClientsConfig struct {
	Capability string
	Pool       string
	Jobs       int
	InFlight   int
	Queue      bool // do not wait for the jobs to settle
}

// clientsReport is what a client process measured.
type clientsReport struct {
	Jobs     int
	Failed   int
	Begin    int64 // Unix nanoseconds
	End      int64
	P50, P99 time.Duration // from submit to settled, or to acknowledged with Queue
}

// simClient keeps a number of jobs in flight until all have been submitted and
// have settled.
type simClient struct {
	cfg   ClientsConfig
	slots chan struct{} // one for each job in flight

	mu      sync.Mutex
	begun   map[uint64]time.Time // by seq, until acknowledged
	waiting map[uint64]time.Time // by job, until settled
	early   map[uint64]time.Time // settled before the acknowledgement was read
	took    sample
	failed  int
	done    chan struct{}
}

// RunClients is the process of simulated clients; it reports once.
func RunClients(ctx context.Context, cfg ClientsConfig) error {
	c, err := capability.Load(cfg.Capability)
	if err != nil {
		return err
	}
	cl, err := client.New(c, client.Options{Patience: 30 * time.Second})
	if err != nil {
		return err
	}
	defer cl.Close()
	s := &simClient{
		cfg: cfg, slots: make(chan struct{}, cfg.InFlight), done: make(chan struct{}),
		begun: map[uint64]time.Time{}, waiting: map[uint64]time.Time{}, early: map[uint64]time.Time{},
	}
	begin := time.Now()
	if err := s.run(ctx, cl); err != nil {
		return err
	}
	return tell(clientsReport{
		Jobs: len(s.took), Failed: s.failed, Begin: begin.UnixNano(), End: time.Now().UnixNano(),
		P50: s.took.at(0.5), P99: s.took.at(0.99),
	})
}

func (s *simClient) run(ctx context.Context, cl *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	if !s.cfg.Queue {
		settled, err := cl.Jobs().WatchSettled(ctx, &pb.WatchSettledRequest{})
		if err != nil {
			return err
		}
		if _, err := settled.Header(); err != nil {
			return fmt.Errorf("watch settled jobs: %w", err)
		}
		g.Go(func() error { return s.settle(settled.Recv) })
	}
	for i := range streams {
		stream, err := cl.Jobs().SubmitStream(ctx)
		if err != nil {
			return err
		}
		g.Go(func() error { return s.submit(ctx, stream, i) })
		g.Go(func() error { return s.acknowledge(stream.Recv) })
	}
	g.Go(func() error {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	err := g.Wait()
	select {
	case <-s.done:
		return nil
	default:
		return err
	}
}

// submit sends this stream's share of the jobs.
func (s *simClient) submit(ctx context.Context, stream pb.JobService_SubmitStreamClient, i int) error {
	spec := &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "-C", "some/where", "test"}}}, TimeLimitMs: 600_000}
	for seq := i; seq < s.cfg.Jobs; seq += streams {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		s.mu.Lock()
		s.begun[uint64(seq)] = now
		s.mu.Unlock()
		err := stream.Send(&pb.SubmitRequest{Seq: uint64(seq), Pool: s.cfg.Pool, Spec: spec, Key: client.NewRequestKey(now)})
		if err != nil {
			return fmt.Errorf("submit: %w", err)
		}
	}
	return nil
}

func (s *simClient) acknowledge(recv func() (*pb.SubmitReply, error)) error {
	for {
		r, err := recv()
		if err != nil {
			return fmt.Errorf("read acknowledgements: %w", err)
		}
		if r.Error != nil {
			return errors.New("submit: " + r.Error.Message)
		}
		s.mu.Lock()
		begun := s.begun[r.Seq]
		delete(s.begun, r.Seq)
		if end, ok := s.early[r.Job]; ok {
			delete(s.early, r.Job)
			s.ended(begun, end)
		} else if s.cfg.Queue {
			s.ended(begun, time.Now())
		} else {
			s.waiting[r.Job] = begun
		}
		s.mu.Unlock()
	}
}

func (s *simClient) settle(recv func() (*pb.SettledJobs, error)) error {
	for {
		batch, err := recv()
		if err != nil {
			return fmt.Errorf("read settled jobs: %w", err)
		}
		now := time.Now()
		s.mu.Lock()
		for i, job := range batch.Jobs {
			if batch.Outcomes[i] != pb.OutcomeKind_OUTCOME_SUCCEEDED {
				s.failed++
			}
			if begun, ok := s.waiting[job]; ok {
				delete(s.waiting, job)
				s.ended(begun, now)
			} else {
				s.early[job] = now
			}
		}
		s.mu.Unlock()
	}
}

// ended counts a job and lets the next one go; the lock is held.
func (s *simClient) ended(begun, end time.Time) {
	s.took = append(s.took, end.Sub(begun))
	<-s.slots
	if len(s.took) == s.cfg.Jobs {
		close(s.done)
	}
}
