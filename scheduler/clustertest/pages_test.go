package clustertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd"
)

// Every node passes on the metrics of every worker, its machine's and those that
// the worker names, and lists them all for Prometheus.
func TestWorkerMetricsThroughAnyNode(t *testing.T) {
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "room_temperature_celsius 21.5")
	}))
	t.Cleanup(exporter.Close)
	c := Start(t, Options{})
	c.StartWorker(c.NewPool("p", &pb.PoolConfig{}), "p", "w1", 1, NewBuilds(), func(cfg *workerd.Config) {
		cfg.MetricsPages = []string{"room=" + exporter.URL, "host-metrics=http://127.0.0.1:1/none"}
	})
	for _, n := range c.Nodes {
		var code int
		var body string
		c.Wait("the worker's metrics through "+n.Name, func() bool {
			code, body = c.page(n, "/pool/p/worker/w1/metrics")
			return code == http.StatusOK
		})
		if !strings.Contains(body, "\nweir_worker_slots 1\n") {
			t.Errorf("%s: %s", n.Name, body)
		}
		for path, want := range map[string]struct {
			code int
			body string
		}{
			"/pool/p/worker/w1/room":         {http.StatusOK, "room_temperature_celsius 21.5"},
			"/pool/p/worker/w1/host-metrics": {http.StatusNotFound, "is the exporter running"},
			"/pool/p/worker/w1/other":        {http.StatusNotFound, "there are host-metrics, room, metrics"},
			"/pool/p/worker/w2/metrics":      {http.StatusNotFound, `no worker "w2"`},
			"/pool/q/worker/w1/metrics":      {http.StatusNotFound, `no pool "q"`},
		} {
			if code, body := c.page(n, path); code != want.code || !strings.Contains(body, want.body) {
				t.Errorf("%s of %s: %d %s", path, n.Name, code, body)
			}
		}
		want := []string{"weir-nodes/n1", "weir-nodes/n2", "weir-nodes/n3", "weir-worker/w1/pool/p/worker/w1/metrics"}
		c.Wait(n.Name+" to list the targets", func() bool { return slices.Equal(c.targets(n), want) })
	}
}

// targets are what a node tells Prometheus to scrape: job/instance and path.
func (c *Cluster) targets(n *Node) (all []string) {
	_, body := c.page(n, "/sd")
	var groups []struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(body), &groups); err != nil {
		c.t.Fatalf("/sd of %s: %v: %s", n.Name, err, body)
	}
	for _, g := range groups {
		all = append(all, g.Labels["job"]+"/"+g.Labels["instance"]+g.Labels["__metrics_path__"])
	}
	slices.Sort(all)
	return all
}
