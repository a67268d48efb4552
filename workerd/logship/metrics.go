package logship

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sent       prometheus.Counter
	sealed     prometheus.Counter
	refused    prometheus.Counter
	reconnects prometheus.Counter
}

// newMetrics registers with reg, which may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "weir", Subsystem: "worker_log", Name: name, Help: help,
		})
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	return &metrics{
		sent:       counter("sent_bytes_total", "Log bytes sent to the leader, repeats included."),
		sealed:     counter("sealed_total", "Logs that the cluster sealed and the spool dropped."),
		refused:    counter("refused_total", "Logs that the leader refused and the spool dropped."),
		reconnects: counter("reconnects_total", "Log streams that ended and were made again."),
	}
}
