package lead

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// metrics is what a leader counts. Gauges are read when they are asked for.
type metrics struct {
	registry prometheus.Registerer

	terms     prometheus.Counter
	granted   prometheus.Counter
	refused   prometheus.Counter
	waiting   prometheus.Histogram
	attempts  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	settled   *prometheus.CounterVec
	expired   prometheus.Counter
	suspected prometheus.Counter
	sessions  *prometheus.CounterVec
	plan      prometheus.Histogram
	trimmed   prometheus.Counter
	outcomes  map[pb.OutcomeKind]outcomeMetrics // of the vectors above
}

// outcomeMetrics is what is counted for one kind of outcome.
type outcomeMetrics struct {
	attempts, settled prometheus.Counter
	durations         prometheus.Observer
}

// newMetrics registers the metrics, or with nil only makes them.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_" + name, Help: help})
	}
	m := &metrics{
		registry:  reg,
		terms:     counter("leader_terms_total", "Terms of office that this node began."),
		granted:   counter("leases_granted_total", "Leases given while this node led."),
		refused:   counter("grants_refused_total", "Proposed grants that the state refused."),
		expired:   counter("leases_expired_total", "Leases given up because the worker was silent or revoked."),
		suspected: counter("leader_suspicions_total", "Times that this node took its own deafness for the cause of silence."),
		trimmed:   counter("jobs_trimmed_total", "Finished jobs that retention has removed."),
		waiting: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_job_wait_seconds", Help: "Time from a job's submit to its first lease.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12),
		}),
		plan: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_plan_seconds", Help: "Time to plan for one batch of events.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 4, 10),
		}),
		sessions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_worker_sessions_total", Help: "Sessions of workers, by how they began.",
		}, []string{"result"}),
	}
	m.countOutcomes()
	if reg != nil {
		reg.MustRegister(m.terms, m.granted, m.refused, m.expired, m.suspected, m.trimmed, m.waiting, m.plan,
			m.attempts, m.settled, m.durations, m.sessions)
	}
	return m
}

// countOutcomes makes what is counted for each kind of outcome.
func (m *metrics) countOutcomes() {
	labels := []string{"outcome"}
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_attempts_total", Help: "Attempts that ended, by outcome.",
	}, labels)
	m.settled = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_jobs_settled_total", Help: "Jobs that are over, by outcome.",
	}, labels)
	m.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "weir_attempt_seconds", Help: "How long attempts ran, by outcome.",
		Buckets: prometheus.ExponentialBuckets(0.05, 4, 10),
	}, labels)
	m.outcomes = map[pb.OutcomeKind]outcomeMetrics{}
	for kind := range pb.OutcomeKind_name {
		k := pb.OutcomeKind(kind)
		name := fsm.OutcomeName(k)
		m.outcomes[k] = outcomeMetrics{
			attempts: m.attempts.WithLabelValues(name), settled: m.settled.WithLabelValues(name),
			durations: m.durations.WithLabelValues(name),
		}
	}
}

// watch registers the gauges that read the leader and the state.
func (m *metrics) watch(l *Leader) {
	if m.registry == nil {
		return
	}
	m.registry.MustRegister(&gauges{
		leader:  l,
		queued:  prometheus.NewDesc("weir_jobs_queued", "Jobs in the backlog.", []string{"pool"}, nil),
		backoff: prometheus.NewDesc("weir_jobs_backoff", "Jobs that wait for their next attempt.", []string{"pool"}, nil),
		running: prometheus.NewDesc("weir_leases", "Leases that workers hold.", []string{"pool"}, nil),
		kept:    prometheus.NewDesc("weir_jobs_finished", "Finished jobs that are kept.", []string{"pool"}, nil),
		workers: prometheus.NewDesc("weir_workers_connected", "Workers with a session on this node.", []string{"pool"}, nil),
		free:    prometheus.NewDesc("weir_slots_free", "Free slots of connected workers.", []string{"pool"}, nil),
	})
}

type gauges struct {
	leader                                        *Leader
	queued, backoff, running, kept, workers, free *prometheus.Desc
}

func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.queued, g.backoff, g.running, g.kept, g.workers, g.free} {
		out <- d
	}
}

func (g *gauges) Collect(out chan<- prometheus.Metric) {
	var pools []*fsm.Pool
	g.leader.store.View(func(s *fsm.State) {
		for p := range s.Pools() {
			pools = append(pools, p)
		}
	})
	send := func(d *prometheus.Desc, n int, pool string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), pool)
	}
	for _, p := range pools {
		send(g.queued, p.Queued, p.Name)
		send(g.backoff, p.Backoff, p.Name)
		send(g.running, p.Running, p.Name)
		send(g.kept, p.Settled, p.Name)
	}
	t, err := g.leader.current()
	if err != nil {
		return
	}
	for _, p := range pools {
		if connected, free, ok := t.capacity(p.Name); ok {
			send(g.workers, connected, p.Name)
			send(g.free, free, p.Name)
		}
	}
}

// ended counts an attempt that is over.
func (m *metrics) ended(a *fsm.Attempt) {
	o := m.outcomes[a.Outcome.GetKind()]
	o.attempts.Inc()
	o.durations.Observe(float64(a.Ended-a.Started) / 1000)
}

// over counts a job that is over.
func (m *metrics) over(kind pb.OutcomeKind) { m.outcomes[kind].settled.Inc() }
