package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/weirbuild/weir/proto/pb"
)

// DefaultInPipe is how many jobs of one kind a program has in the cluster.
const DefaultInPipe = 200

// cancelPatience is how long a build whose caller has given up waits for the
// cluster to take the cancellation.
const cancelPatience = 10 * time.Second

// BuildsOptions tune Builds. The zero value is ready to use.
type BuildsOptions struct {
	// InPipe bounds the jobs that are submitted and not settled: for each pool
	// those that are urgent, and those that are not. The others wait in this
	// program, where they cost the cluster nothing. 0: DefaultInPipe.
	InPipe int64
	// Registerer gets the metrics weir_client_builds_...; nil: none.
	Registerer prometheus.Registerer
}

// Builds runs builds for a program that has many at a time, such as a CI
// service. It is safe for concurrent use.
type Builds struct {
	client  *Client
	inPipe  int64
	metrics *buildMetrics

	mu    sync.Mutex
	pipes map[pipe]*semaphore.Weighted
}

// pipe is what has a bound of its own.
type pipe struct {
	pool   string
	urgent bool
}

// NewBuilds makes builds that go through a client.
func NewBuilds(c *Client, o BuildsOptions) *Builds {
	if o.InPipe <= 0 {
		o.InPipe = DefaultInPipe
	}
	return &Builds{client: c, inPipe: o.InPipe, metrics: newBuildMetrics(o.Registerer), pipes: map[pipe]*semaphore.Weighted{}}
}

// Run submits a build and follows it to its end: it waits for room in the pipe,
// makes one job however often it has to ask, tells to of every change and every
// byte of the log once, and returns the settled job. A build that failed is no
// error. When ctx ends first, the cluster is asked to cancel the job, and the
// error is ctx's cause. The request may carry a key, which finds the job of an
// earlier Run of the same build.
func (b *Builds) Run(ctx context.Context, req *pb.SubmitRequest, to Follower) (*pb.Job, error) {
	p := pipe{req.Pool, req.Spec.GetUrgent()}
	room := b.pipe(p)
	waiting := b.metrics.waiting.WithLabelValues(p.labels()...)
	waiting.Inc()
	err := room.Acquire(ctx, 1)
	waiting.Dec()
	if err != nil {
		return nil, fmt.Errorf("wait for room among the %d jobs in pool %s: %w", b.inPipe, req.Pool, context.Cause(ctx))
	}
	defer room.Release(1)
	running, began := b.metrics.running.WithLabelValues(p.labels()...), time.Now()
	running.Inc()
	defer running.Dec()
	job, err := b.run(ctx, req, to)
	b.metrics.ended(job, err, time.Since(began))
	return job, err
}

func (b *Builds) pipe(p pipe) *semaphore.Weighted {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pipes[p] == nil {
		b.pipes[p] = semaphore.NewWeighted(b.inPipe)
	}
	return b.pipes[p]
}

func (b *Builds) run(ctx context.Context, req *pb.SubmitRequest, to Follower) (*pb.Job, error) {
	if req.Key == nil {
		req.Key = NewRequestKey(time.Now())
	}
	reply, err := b.client.Submit(ctx, req)
	if err != nil {
		if ctx.Err() == nil {
			return nil, err
		}
		// It may have been made: the same key finds it, or makes it to be cancelled.
		return nil, b.cancelled(ctx, func(ctx context.Context) (uint64, error) {
			reply, err := b.client.Submit(ctx, req)
			return reply.GetJob(), err
		})
	}
	job, err := b.client.Follow(ctx, &pb.WatchRequest{Id: reply.Job}, to)
	if err != nil && ctx.Err() != nil {
		return nil, b.cancelled(ctx, func(context.Context) (uint64, error) { return reply.Job, nil })
	}
	return job, err
}

// cancelled has the cluster cancel a job, and returns why the caller gave up.
func (b *Builds) cancelled(ctx context.Context, find func(context.Context) (uint64, error)) error {
	patient, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer stop()
	id, err := find(patient)
	if err == nil {
		_, err = b.client.Jobs().Cancel(patient, &pb.CancelRequest{Id: id, Reason: "the program that submitted it gave up"})
	}
	if err != nil {
		return fmt.Errorf("%w; the job may go on, as it could not be cancelled: %w", context.Cause(ctx), err)
	}
	return context.Cause(ctx)
}

func (p pipe) labels() []string {
	if p.urgent {
		return []string{p.pool, "true"}
	}
	return []string{p.pool, "false"}
}

type buildMetrics struct {
	waiting *prometheus.GaugeVec
	running *prometheus.GaugeVec
	seconds *prometheus.HistogramVec
}

func newBuildMetrics(reg prometheus.Registerer) *buildMetrics {
	m := &buildMetrics{
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_client_builds_waiting", Help: "Builds that wait in this program for room in the pipe."}, []string{"pool", "urgent"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_client_builds_in_pipe", Help: "Builds that are with the cluster."}, []string{"pool", "urgent"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_client_build_seconds", Help: "From the submit of a build to its end, by outcome.",
			Buckets: prometheus.ExponentialBuckets(0.1, 3, 12)}, []string{"outcome"}),
	}
	if reg != nil {
		reg.MustRegister(m.waiting, m.running, m.seconds)
	}
	return m
}

// ended counts a build by its outcome, or as error: its end was not heard.
func (m *buildMetrics) ended(job *pb.Job, err error, took time.Duration) {
	outcome := "error"
	if err == nil {
		outcome = strings.ToLower(strings.TrimPrefix(job.GetOutcome().GetKind().String(), "OUTCOME_"))
	}
	m.seconds.WithLabelValues(outcome).Observe(took.Seconds())
}
