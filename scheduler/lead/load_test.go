package lead

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// robot is a worker that ends every job at once, and redials when its session
// breaks, as a real one does.
type robot struct {
	c       *cluster
	hello   *pb.WorkerHello
	restful bool // breaks its session now and then

	mu       sync.Mutex
	highest  uint64
	unacked  map[uint64]bool // results that are not acknowledged
	started  map[uint64]bool
	problems []string
}

func (r *robot) run(ctx context.Context) {
	for ctx.Err() == nil {
		h := &pb.WorkerHello{
			Pool: r.hello.Pool, Name: r.hello.Name, InstanceKey: r.hello.InstanceKey, Slots: r.hello.Slots,
			BootId: r.hello.BootId, Status: r.hello.Status,
		}
		r.mu.Lock()
		h.HighestLease = r.highest
		for lease := range r.unacked {
			h.Running = append(h.Running, &pb.RunningAttempt{Lease: lease})
		}
		s := &robotStream{robot: r, up: make(chan *pb.WorkerMessage, 1<<12)}
		s.ctx, s.cancel = context.WithCancel(ctx)
		for lease := range r.unacked {
			s.up <- finished(lease)
		}
		r.mu.Unlock()
		_ = r.c.leader.Serve(s, h, Caller{})
		s.cancel()
	}
}

func finished(leases ...uint64) *pb.WorkerMessage {
	m := &pb.WorkerMessage{}
	for _, lease := range leases {
		m.Finished = append(m.Finished, &pb.FinishedAttempt{Lease: lease, Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}})
	}
	return m
}

type robotStream struct {
	*robot
	ctx    context.Context
	cancel context.CancelFunc
	up     chan *pb.WorkerMessage
}

func (s *robotStream) Context() context.Context { return s.ctx }

func (s *robotStream) Recv() (*pb.WorkerMessage, error) {
	if s.restful && rand.IntN(300) == 0 {
		s.cancel()
	}
	select {
	case m := <-s.up:
		return m, nil
	case <-s.ctx.Done():
		return nil, errHungUp
	}
}

func (s *robotStream) Send(m *pb.NodeMessage) error {
	if s.ctx.Err() != nil {
		return errHungUp
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range m.FinishAcks {
		if !a.Recorded {
			s.problems = append(s.problems, fmt.Sprintf("lease %d was fenced", a.Lease))
		}
		delete(s.unacked, a.Lease)
	}
	for _, stop := range m.Stops {
		if s.unacked[stop.Lease] && stop.Reason == pb.StopReason_STOP_FENCED {
			continue // recorded, and the acknowledgement was lost
		}
		s.problems = append(s.problems, fmt.Sprintf("lease %d was stopped", stop.Lease))
	}
	if len(m.Grants) == 0 {
		return nil
	}
	var done []uint64
	for _, g := range m.Grants {
		if s.started[g.Lease] {
			s.problems = append(s.problems, fmt.Sprintf("lease %d came twice", g.Lease))
		}
		s.highest, s.started[g.Lease], s.unacked[g.Lease] = max(s.highest, g.Lease), true, true
		done = append(done, g.Lease)
	}
	s.up <- finished(done...)
	return nil
}

func (c *cluster) robots(ctx context.Context, n int, slots uint32, restful bool) (all []*robot, ended *sync.WaitGroup) {
	ended = &sync.WaitGroup{}
	for i := range n {
		r := &robot{c: c, hello: hello(fmt.Sprint("w", i), slots), restful: restful, unacked: map[uint64]bool{}, started: map[uint64]bool{}}
		all = append(all, r)
		ended.Go(func() { r.run(ctx) })
	}
	c.eventually("all robots are connected", func() bool {
		n, _, _ := c.term().capacity("p")
		return n == len(all)
	})
	return all, ended
}

// pump submits jobs, so many at a time, as the API does.
func (c *cluster) pump(jobs, inFlight int) {
	room := make(chan struct{}, inFlight)
	settled := c.store.Subscribe("pump", fsm.JobSettled)
	defer settled.Close()
	var failed atomic.Int64
	go func() {
		for range jobs {
			room <- struct{}{}
			worker, _, release := c.leader.Suggest("p", "ci", new(pb.JobSpec))
			c.store.ProposeAsync(submit(&pb.JobSpec{}, worker), func(r fsm.Result, err error) {
				release(r.Lease != 0)
				if err != nil {
					failed.Add(1)
				}
			})
		}
	}()
	deadline := time.After(4 * patience)
	var events []fsm.Event
	for left := jobs; left > 0; {
		select {
		case <-settled.Ready():
		case <-deadline:
			c.t.Fatalf("%d of %d jobs are not settled, %d submits failed", left, jobs, failed.Load())
		}
		events, _ = settled.Take(events)
		for range events {
			<-room
		}
		left -= len(events)
	}
}

// Workers that lose their sessions all the time, under load: every job is done
// once, by one attempt, and no slot is lost.
func TestLoad(t *testing.T) {
	c := newCluster(t, Config{LeaseTTL: time.Minute, Election: time.Millisecond, ReconnectMax: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	robots, ended := c.robots(ctx, 6, 4, true)
	const jobs = 3000
	c.pump(jobs, 100)
	for id := range fsm.JobID(jobs) {
		if j := c.job(id + 1); len(j.Attempts) != 1 || j.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("job %d: %d attempts, %v", j.ID, len(j.Attempts), j.Outcome)
		}
	}
	c.eventually("all slots are free", func() bool {
		connected, free, _ := c.term().capacity("p")
		return connected == 6 && free == 24
	})
	cancel()
	ended.Wait()
	for _, r := range robots {
		for _, p := range r.problems {
			t.Errorf("worker %s: %s", r.hello.Name, p)
		}
	}
}

// Lifecycles a second through the leader and a log with fsync; the limit is the
// node's own rate of commits.
func BenchmarkLifecycles(b *testing.B) {
	c := newCluster(b, Config{LeaseTTL: time.Minute, Election: time.Millisecond, ReconnectMax: time.Millisecond})
	c.do(&pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: "p", Config: &pb.PoolConfig{KeepJobs: 10_000_000}}}})
	ctx, cancel := context.WithCancel(b.Context())
	_, ended := c.robots(ctx, 16, 128, false)
	b.ResetTimer()
	b.ReportAllocs()
	c.pump(b.N, 1024)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	cancel()
	ended.Wait()
}
