package workerd

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weirbuild/weir/proto/pb"
)

// newRegistry returns the registry of one worker, with what every Go program can
// say of itself.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

type metrics struct {
	outcomes *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	fsync    prometheus.Histogram
	refused  prometheus.Counter
	cut      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_worker_attempts_total", Help: "Attempts that ended here, by outcome; fenced ones have no outcome of their own."}, []string{"outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_worker_attempt_seconds", Help: "From the grant to the stored result.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 14)}, []string{"outcome"}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_worker_journal_flush_seconds", Help: "One write and fsync of the journal, shared by all who wait for it.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 3, 11)}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_results_refused_total", Help: "Results that the cluster did not record: their lease was over."}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_logs_cut_total", Help: "Logs that the spool or its disk had no room for; their jobs went on."}),
	}
	if reg != nil {
		reg.MustRegister(m.outcomes, m.seconds, m.fsync, m.refused, m.cut)
	}
	return m
}

func (m *metrics) ended(kind string, took time.Duration) {
	m.outcomes.WithLabelValues(kind).Inc()
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *metrics) flushed(took time.Duration) { m.fsync.Observe(took.Seconds()) }

// outcomeLabels are fixed so that a label never comes from outside.
var outcomeLabels = map[pb.OutcomeKind]string{
	pb.OutcomeKind_OUTCOME_SUCCEEDED:        "succeeded",
	pb.OutcomeKind_OUTCOME_FAILED:           "failed",
	pb.OutcomeKind_OUTCOME_CANCELLED:        "cancelled",
	pb.OutcomeKind_OUTCOME_TIMED_OUT:        "timed_out",
	pb.OutcomeKind_OUTCOME_WORKER_RESTARTED: "worker_restarted",
	pb.OutcomeKind_OUTCOME_WORKER_ERROR:     "worker_error",
}

const fencedLabel = "fenced"

// watch registers what is read from the worker at each scrape.
func (w *Worker) watch(reg prometheus.Registerer) {
	gauge := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_worker_" + name, Help: help}, read))
	}
	gauge("running", "Attempts that run here.", func() float64 { n, _ := w.table.load(); return float64(n) })
	gauge("slots_used", "Slots that the attempts here take.", func() float64 { _, n := w.table.load(); return float64(n) })
	gauge("slots", "Slots of this worker.", func() float64 { return float64(w.cfg.Slots) })
	gauge("ready", "1 while it takes new jobs.", func() float64 {
		if w.why() == "" {
			return 1
		}
		return 0
	})
	gauge("results_waiting", "Stored results that the cluster has not acknowledged.", func() float64 { return float64(w.journal.Waiting()) })
	gauge("spool_logs", "Logs that the cluster has not sealed.", func() float64 { n, _, _ := w.spool.Usage(); return float64(n) })
	gauge("spool_bytes", "Bytes of the logs that the cluster has not sealed.", func() float64 { _, n, _ := w.spool.Usage(); return float64(n) })
}
