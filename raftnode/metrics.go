package raftnode

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a node. Gauges of the Raft state are read when scraped.
type metrics struct {
	commits  prometheus.Counter
	bytes    prometheus.Counter
	failed   prometheus.Counter
	latency  prometheus.Histogram
	batch    prometheus.Histogram
	terms    prometheus.Counter
	leaders  prometheus.Counter
	store    *prometheus.HistogramVec
	stalls   prometheus.Counter
	givenUp  prometheus.Counter
	unheard  prometheus.Counter
	reopened prometheus.Counter
	snapshot prometheus.Histogram
	restore  prometheus.Histogram
	refused  *prometheus.CounterVec

	factory promauto.Factory
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		factory:  f,
		commits:  f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_commands_committed_total", Help: "Commands proposed here that were committed and applied."}),
		bytes:    f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_commands_committed_bytes_total", Help: "Bytes of these commands in the log."}),
		failed:   f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_commands_failed_total", Help: "Commands proposed here that were refused or whose outcome is unknown."}),
		latency:  f.NewHistogram(prometheus.HistogramOpts{Name: "weir_raft_commit_seconds", Help: "From handing an entry to Raft until it is applied.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}),
		batch:    f.NewHistogram(prometheus.HistogramOpts{Name: "weir_raft_entry_commands", Help: "Commands in an entry.", Buckets: prometheus.ExponentialBuckets(1, 2, 14)}),
		terms:    f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_terms_led_total", Help: "How often this node came into office."}),
		leaders:  f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_leader_changes_total", Help: "How often this node heard of another leader than before."}),
		store:    f.NewHistogramVec(prometheus.HistogramOpts{Name: "weir_raft_store_seconds", Help: "Writes to the log and stable stores.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17)}, []string{"op"}),
		stalls:   f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_store_stalls_total", Help: "Log writes that missed their deadline."}),
		givenUp:  f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_store_given_up_total", Help: "Log writes that a leader stopped waiting for: each cost it its office."}),
		unheard:  f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_store_probes_unanswered_total", Help: "How often this leader's store hung and no other voter said that its own works: it waits."}),
		reopened: f.NewCounter(prometheus.CounterOpts{Name: "weir_raft_store_reopened_total", Help: "How often a store was opened again after an error."}),
		snapshot: f.NewHistogram(prometheus.HistogramOpts{Name: "weir_raft_snapshot_seconds", Help: "Writing a snapshot, in the background.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)}),
		restore:  f.NewHistogram(prometheus.HistogramOpts{Name: "weir_raft_restore_seconds", Help: "Replacing the state by a snapshot.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)}),
		refused:  f.NewCounterVec(prometheus.CounterOpts{Name: "weir_raft_connections_refused_total", Help: "Connections of other nodes that were refused."}, []string{"why"}),
	}
}

// watch adds the gauges that are read from the node.
func (m *metrics) watch(n *Node) {
	gauge := func(name, help string, value func(Status) float64) {
		m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(n.Status()) })
	}
	gauge("weir_raft_term", "The current term.", func(s Status) float64 { return float64(s.Term) })
	gauge("weir_raft_leader", "1 while this node is in office.", func(s Status) float64 { return boolFloat(s.InOffice) })
	gauge("weir_raft_ready", "1 while this node is ready.", func(s Status) float64 { return boolFloat(s.Ready) })
	gauge("weir_raft_other_profiles", "Members that run another profile than this node: all that do on the leader, the leader elsewhere.", func(s Status) float64 { return float64(len(n.profiles.odd(s))) })
	gauge("weir_raft_commit_index", "Index of the last entry known to be committed.", func(s Status) float64 { return float64(s.Commit) })
	gauge("weir_raft_applied_index", "Index of the last applied entry.", func(s Status) float64 { return float64(s.Applied) })
	gauge("weir_raft_last_contact_seconds", "Since the leader was heard; 0 on the leader, -1 when never.", func(s Status) float64 {
		if s.LastContact < 0 {
			return -1
		}
		return s.LastContact.Seconds()
	})
}

func boolFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
