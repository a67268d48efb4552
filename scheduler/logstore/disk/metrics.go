package disk

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted with or without a registerer.
type metrics struct {
	reg        prometheus.Registerer
	bytes      prometheus.Counter
	syncs      prometheus.Histogram
	expiredLog prometheus.Counter
	copied     prometheus.Counter
	damage     prometheus.Counter
	gauges     []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, s *Store) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_logstore_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_logstore_" + name, Help: help}, value)
	}
	m := &metrics{
		reg:        reg,
		bytes:      counter("appended_bytes_total", "Bytes of build logs that were stored."),
		expiredLog: counter("expired_logs_total", "Logs that were removed to keep the byte budget."),
		copied:     counter("copied_bytes_total", "Bytes that were copied forward to reclaim segments."),
		damage:     counter("damaged_logs_total", "Logs that were found damaged."),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_logstore_sync_seconds", Help: "Time of one group sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 3, 10),
		}),
		gauges: []prometheus.Collector{
			gauge("disk_bytes", "Size of the segments.", func() float64 { return float64(s.Usage().DiskBytes) }),
			gauge("live_bytes", "Bytes of the segments that are needed.", func() float64 { return float64(s.Usage().LiveBytes) }),
			gauge("budget_bytes", "Byte budget.", func() float64 { return float64(s.opts.BudgetBytes) }),
			gauge("logs", "Stored logs.", func() float64 { return float64(s.Usage().Logs) }),
			gauge("unsealed_logs", "Stored logs that are not complete.", func() float64 { return float64(s.Usage().Unsealed) }),
		},
	}
	if reg != nil {
		reg.MustRegister(m.all()...)
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return append([]prometheus.Collector{m.bytes, m.syncs, m.expiredLog, m.copied, m.damage}, m.gauges...)
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all() {
		m.reg.Unregister(c)
	}
}

func (m *metrics) appended(n int)      { m.bytes.Add(float64(n)) }
func (m *metrics) expired(n int)       { m.expiredLog.Add(float64(n)) }
func (m *metrics) copiedBytes(n int64) { m.copied.Add(float64(n)) }
func (m *metrics) damaged()            { m.damage.Inc() }

// synced measures one sync: call what it returns at the end.
func (m *metrics) synced() func() {
	begun := time.Now()
	return func() { m.syncs.Observe(time.Since(begun).Seconds()) }
}
