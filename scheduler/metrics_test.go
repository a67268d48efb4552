package scheduler

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/metricsdoc"
)

// METRICS.md lists every metric that a node has.
func TestTheMetricsAreDocumented(t *testing.T) {
	s, err := Open(alone(t), hclog.NewNullLogger(), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	metricsdoc.Check(t, s.registry, "METRICS.md")
}
