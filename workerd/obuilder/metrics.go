package obuilder

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	hits, misses, pruned prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_worker_obuilder_" + name, Help: help})
	}
	m := &metrics{
		hits:   counter("cache_hits_total", "Steps whose result was kept already."),
		misses: counter("cache_misses_total", "Steps that were run."),
		pruned: counter("pruned_total", "Results that were removed to make room."),
	}
	if r != nil {
		r.MustRegister(m.hits, m.misses, m.pruned)
	}
	return m
}
