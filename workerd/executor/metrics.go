package executor

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	running prometheus.Gauge
	seconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_worker_attempts_running", Help: "Attempts that run now."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_worker_attempt_seconds", Help: "Time of attempts on this worker, by outcome.",
			Buckets: prometheus.ExponentialBuckets(0.05, 4, 10)}, []string{"outcome"}),
	}
	if reg != nil {
		reg.MustRegister(m.running, m.seconds)
	}
	return m
}
