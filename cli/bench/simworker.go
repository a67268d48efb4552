package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/logship"
	"github.com/weirbuild/weir/workerd/session"
	"github.com/weirbuild/weir/workerd/spool"
)

// simWorker speaks the real session and log protocols and finishes every job at
// once, or keeps it for ever when hold says so.
type simWorker struct {
	name    string
	pool    string
	session *session.Session
	spool   *spool.Spool
	payload []byte // the log of each job
	hold    func(*pb.Grant) bool
	started func(*pb.Grant) // may be nil
	mayShip chan struct{}   // logs stay in the spool until it is closed

	granted atomic.Int64
	stopped atomic.Int64

	mu      sync.Mutex
	highest uint64
	seen    map[uint64]bool
	held    map[uint64]bool
	results map[uint64]*pb.FinishedAttempt
	key     []byte
}

func newSimWorker(c capability.Capability, pool, name string, slots uint32, logBytes int) *simWorker {
	w := &simWorker{
		name: name, pool: pool, spool: spool.Memory(1 << 30), payload: make([]byte, logBytes), key: make([]byte, 32),
		hold: func(*pb.Grant) bool { return false }, mayShip: make(chan struct{}), seen: map[uint64]bool{}, held: map[uint64]bool{}, results: map[uint64]*pb.FinishedAttempt{},
	}
	for i := range w.payload {
		w.payload[i] = "weir\n"[i%5]
	}
	rand.Read(w.key)
	w.session = session.New(session.Config{
		Capability: c, Pool: pool, Name: name, InstanceKey: w.key, Slots: slots, Version: "bench", Level: 1,
	}, w, hclog.NewNullLogger(), nil)
	return w
}

// run holds the session and ships logs until ctx ends.
func (w *simWorker) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.session.Run(ctx) })
	g.Go(func() error {
		select {
		case <-w.mayShip:
		case <-ctx.Done():
			return nil
		}
		err := logship.Run(ctx, logship.Config{Dial: w.dialLogs, Spool: w.spool, Logger: hclog.NewNullLogger()})
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	return g.Wait()
}

func (w *simWorker) dialLogs(ctx context.Context) (logship.Stream, *pb.LogHello, error) {
	link, err := w.session.WaitLink(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, conn, err := link.Dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := pb.NewWorkerServiceClient(conn).ShipLogs(ctx)
	return s, &pb.LogHello{Pool: w.pool, Name: w.name, InstanceKey: w.key, Relay: link.Relay}, err
}

// Grants implements session.Host.
func (w *simWorker) Grants(grants []*pb.Grant) {
	done := make([]*pb.FinishedAttempt, 0, len(grants))
	for _, g := range grants {
		if f := w.take(g); f != nil {
			done = append(done, f)
		}
	}
	if len(done) > 0 {
		w.session.Finished(done...)
	}
}

func (w *simWorker) take(g *pb.Grant) *pb.FinishedAttempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[g.Lease] {
		return w.results[g.Lease]
	}
	w.seen[g.Lease] = true
	w.highest = max(w.highest, g.Lease)
	w.granted.Add(1)
	if w.started != nil {
		w.started(g)
	}
	if w.hold(g) {
		w.held[g.Lease] = true
		return nil
	}
	log, err := w.spool.Create(spool.ID{Lease: g.Lease, Job: g.Job, Attempt: g.Attempt})
	if err == nil {
		_, err = log.Write(w.payload)
		_, finishErr := log.Finish()
		err = errors.Join(err, finishErr)
	}
	f := &pb.FinishedAttempt{Lease: g.Lease, Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}}
	if err != nil {
		f.Outcome = &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_WORKER_ERROR, Message: err.Error()}
	}
	w.results[g.Lease] = f
	return f
}

// Running implements session.Host.
func (w *simWorker) Running() []*pb.RunningAttempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*pb.RunningAttempt
	for lease := range w.held {
		all = append(all, &pb.RunningAttempt{Lease: lease})
	}
	return all
}

// HighestLease implements session.Host.
func (w *simWorker) HighestLease() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

// Status implements session.Host.
func (w *simWorker) Status() *pb.WorkerStatus { return &pb.WorkerStatus{Ready: true} }

// Results implements session.Host.
func (w *simWorker) Results() []*pb.FinishedAttempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*pb.FinishedAttempt
	for _, f := range w.results {
		all = append(all, f)
	}
	return all
}

// Welcome implements session.Host.
func (w *simWorker) Welcome(*pb.Welcome) error { return nil }

// Stops implements session.Host.
func (w *simWorker) Stops(stops []*pb.Stop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range stops {
		w.stopped.Add(1)
		delete(w.held, s.Lease)
	}
}

// FinishAcks implements session.Host.
func (w *simWorker) FinishAcks(acks []*pb.FinishAck) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range acks {
		delete(w.results, a.Lease)
	}
}

// unsealed is how many logs the cluster has not sealed yet.
func (w *simWorker) unsealed() int { return len(w.spool.Pending()) }

// WorkersConfig says which workers one process simulates.
type WorkersConfig struct {
	Capability string
	Pool       string
	Workers    int
	Slots      uint32
	LogBytes   int
}

// workersReport is how far the simulated workers of a process are.
type workersReport struct {
	Unix     int64 // nanoseconds
	Granted  int64
	Unsealed int
}

// RunWorkers is the process of simulated workers: it reports until ctx ends.
func RunWorkers(ctx context.Context, cfg WorkersConfig) error {
	c, err := capability.Load(cfg.Capability)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	workers := make([]*simWorker, cfg.Workers)
	for i := range workers {
		workers[i] = newSimWorker(c, cfg.Pool, fmt.Sprintf("sim%d", i+1), cfg.Slots, cfg.LogBytes)
		close(workers[i].mayShip)
		g.Go(func() error { return workers[i].run(ctx) })
	}
	g.Go(func() error { return report(ctx, workers) })
	return g.Wait()
}

func report(ctx context.Context, workers []*simWorker) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			r := workersReport{Unix: now.UnixNano()}
			for _, w := range workers {
				r.Granted += w.granted.Load()
				r.Unsealed += w.unsealed()
			}
			if err := tell(r); err != nil {
				return err
			}
		}
	}
}
