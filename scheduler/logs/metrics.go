package logs

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	in, out, copied, pulled            prometheus.Counter
	sealed, refused, recopied, expired prometheus.Counter
	streams                            prometheus.Gauge
	sealLatency                        prometheus.Histogram
}

// newMetrics registers with reg, which may be nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		in:       counter(reg, "received_bytes_total", "Log bytes that workers sent to this node as leader."),
		out:      counter(reg, "read_bytes_total", "Log bytes that this node sent to readers."),
		copied:   counter(reg, "copied_bytes_total", "Log bytes that leaders sent to this node."),
		pulled:   counter(reg, "pulled_bytes_total", "Log bytes that this node, as a new leader, fetched from others."),
		sealed:   counter(reg, "sealed_total", "Logs sealed on this node's proposal."),
		refused:  counter(reg, "refused_total", "Logs that this node refused to take from a worker."),
		recopied: counter(reg, "recopied_total", "Sealed logs that this node, as leader, brought to a majority again."),
		expired:  counter(reg, "expired_total", "Logs that this node, as leader, found to be dropped by every holder."),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "weir", Subsystem: "logs", Name: "worker_streams", Help: "Workers that ship logs to this node.",
		}),
		sealLatency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "weir", Subsystem: "logs", Name: "seal_seconds",
			Help:    "Time from a log's end marker to its seal.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.streams, m.sealLatency)
	}
	return m
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "logs", Name: name, Help: help})
	if reg != nil {
		reg.MustRegister(c)
	}
	return c
}

// watch adds what is looked up when it is asked for.
func (m *metrics) watch(reg prometheus.Registerer, s *Service) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "weir", Subsystem: "logs", Name: name, Help: help,
		}, f))
	}
	gauge("readers", "Reads of logs that wait or run on this node.", func() float64 { return float64(s.hub.count()) })
	gauge("unsealed", "Logs on their way to being sealed, on the leader.", func() float64 {
		logs, _ := s.backlog()
		return float64(logs)
	})
	gauge("replication_lag_bytes", "Log bytes that the furthest peer has not been sent yet, on the leader.", func() float64 {
		_, lag := s.backlog()
		return float64(lag)
	})
}

// backlog counts the logs under way and the bytes that the slowest peer lacks.
func (s *Service) backlog() (logs int, lag int64) {
	t := s.current()
	if t == nil {
		return 0, 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.peers {
		var behind int64
		for _, f := range t.flows {
			if c := f.replica(r); c != nil && !c.whole {
				behind += f.end - max(c.sent, 0)
			}
		}
		lag = max(lag, behind)
	}
	return len(t.flows), lag
}
