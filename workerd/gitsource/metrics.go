package gitsource

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	hits    prometheus.Counter
	rebuilt prometheus.Counter
	seconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_git_cache_hits_total", Help: "Checkouts for which the clone cache had every commit."}),
		rebuilt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_git_cache_rebuilt_total", Help: "Clones that were damaged and cloned again."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_worker_git_fetch_seconds", Help: "Time of fetches into the clone cache, by result.",
			Buckets: prometheus.ExponentialBuckets(0.05, 3, 9)}, []string{"result"}),
	}
	if reg != nil {
		reg.MustRegister(m.hits, m.rebuilt, m.seconds)
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
