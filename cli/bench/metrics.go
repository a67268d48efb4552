package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirbuild/weir/cli/local"
)

// committedBy asks every node's metrics for what it has committed as a leader.
func committedBy(ctx context.Context, c *local.Cluster) (t tally, err error) {
	for _, n := range c.Nodes {
		values, err := scrape(ctx, n.HTTP)
		if err != nil {
			return t, err
		}
		t.commands += values["weir_raft_commands_committed_total"]
		t.bytes += values["weir_raft_commands_committed_bytes_total"]
	}
	return t, nil
}

// scrape reads a node's metrics that have no labels. The node's certificate is
// not checked: it is one of the cluster that this process has just made.
func scrape(ctx context.Context, address string) (map[string]float64, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	return parseMetrics(resp.Body)
}

func parseMetrics(r io.Reader) (map[string]float64, error) {
	values := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values, lines.Err()
}

// part is a process's share of the work.
type part struct {
	name string
	pid  int
	cpu  time.Duration
}

// cost is the processor time of some processes, at first since they began and
// then for each job.
type cost []part

func startCost(c *local.Cluster) cost {
	var all cost
	for _, n := range c.Nodes {
		all.add(n.Name, n.Process.Pid())
	}
	return all
}

func (c *cost) add(name string, pid int) {
	cpu, _ := cpuTime(pid) // of a process that is gone: none
	*c = append(*c, part{name, pid, cpu})
}

// per is what each process has spent since on each of so many jobs.
func (c cost) per(jobs int) cost {
	spent := make(cost, len(c))
	for i, p := range c {
		now, _ := cpuTime(p.pid)
		spent[i] = part{p.name, p.pid, (now - p.cpu) / time.Duration(jobs)}
	}
	return spent
}

func (c cost) String() string {
	var total time.Duration
	var parts []string
	for _, p := range c {
		total += p.cpu
		parts = append(parts, fmt.Sprintf("%s %v", p.name, p.cpu.Round(time.Microsecond)))
	}
	return fmt.Sprintf("%v (%s)", total.Round(time.Microsecond), strings.Join(parts, ", "))
}
