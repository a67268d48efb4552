package lead

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/state/statetest"
)

// What an operator sees of one job that is done and one that waits.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := &cluster{t: t, store: statetest.Start(t, nil)}
	c.leader = New(quick, c.store, hclog.NewNullLogger(), reg)
	c.takeOffice()
	t.Cleanup(c.leaveOffice)
	c.makePool()
	w := c.connect(hello("w", 2))
	c.submit(&pb.JobSpec{})
	w.finish(w.awaitGrant().Lease, pb.OutcomeKind_OUTCOME_FAILED)
	c.submit(&pb.JobSpec{Slots: 3})
	w.sync()
	got := gather(t, reg)
	for name, want := range map[string]float64{
		"weir_leader_terms_total": 1, "weir_leases_granted_total": 1, "weir_grants_refused_total": 0,
		"weir_attempts_total failed": 1, "weir_attempts_total succeeded": 0, "weir_jobs_settled_total failed": 1,
		"weir_job_wait_seconds": 1, "weir_attempt_seconds failed": 1, "weir_worker_sessions_total new": 1,
		"weir_jobs_queued p": 1, "weir_leases p": 0, "weir_jobs_finished p": 1, "weir_workers_connected p": 1, "weir_slots_free p": 2,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v (there: %v), want %v", name, value, ok, want)
		}
	}
}

// gather returns the values of counters and gauges and the counts of histograms,
// by name and label values.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}
