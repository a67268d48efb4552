package gitsource

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	hits    prometheus.Counter
	rebuilt prometheus.Counter
	pruned  prometheus.Counter
	bytes   prometheus.Gauge
	seconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_git_cache_hits_total", Help: "Checkouts for which the clone cache had every commit."}),
		rebuilt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_git_cache_rebuilt_total", Help: "Clones that were damaged and cloned again."}),
		pruned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_git_cache_pruned_total", Help: "Clones removed to keep the clone cache's limit."}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_worker_git_cache_bytes", Help: "Disk space of the clone cache, measured after each fetch and once an hour."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_worker_git_fetch_seconds", Help: "Time of fetches into the clone cache, by result.",
			Buckets: prometheus.ExponentialBuckets(0.05, 3, 9)}, []string{"result"}),
	}
	if reg != nil {
		reg.MustRegister(m.hits, m.rebuilt, m.pruned, m.bytes, m.seconds)
	}
	return m
}

func (m *metrics) fetched(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.seconds.WithLabelValues(result).Observe(took.Seconds())
}
