package session

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connected prometheus.Gauge
	relayed   prometheus.Gauge
	sessions  prometheus.Counter
	redirects prometheus.Counter
	lost      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_worker_connected", Help: "1 while a session with the leader is up."}),
		relayed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_worker_relayed", Help: "1 while the session goes through a follower because the leader is out of reach."}),
		sessions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_sessions_begun_total", Help: "Sessions that began; all but the first are reconnects."}),
		redirects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_worker_redirects_total", Help: "Answers of nodes that the leader is elsewhere, or unknown."}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_worker_sessions_lost_total", Help: "Sessions that ended, by why: broken, silent, redirect, direct, renewed."}, []string{"why"}),
	}
	if reg != nil {
		reg.MustRegister(m.connected, m.relayed, m.sessions, m.redirects, m.lost)
	}
	return m
}
