package clustertest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

// page gets one of the pages that a node serves for monitoring.
func (c *Cluster) page(n *Node, path string) (int, string) {
	c.t.Helper()
	address := n.Server.HTTPAddress()
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: mtls.PinnedConfig(c.Admin.Pins(), address, "http/1.1")}, Timeout: Patience}
	defer web.CloseIdleConnections()
	r, err := web.Get("https://" + address + path)
	c.must(err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	c.must(err)
	return r.StatusCode, string(body)
}

// awaitReady waits until a node calls itself ready.
func (c *Cluster) awaitReady(n *Node) {
	c.t.Helper()
	c.Wait(n.Name+" to be ready", func() bool {
		code, body := c.page(n, "/readyz")
		return code == http.StatusOK && body == "ready\n"
	})
}

// awaitUnready waits until a node says so, for that reason.
func (c *Cluster) awaitUnready(n *Node, why string) {
	c.t.Helper()
	c.Wait(n.Name+" to be unready: "+why, func() bool {
		code, body := c.page(n, "/readyz")
		return code == http.StatusServiceUnavailable && strings.HasPrefix(body, "not ready: ") && strings.Contains(body, why)
	})
	if code, body := c.page(n, "/healthz"); code != http.StatusOK {
		c.t.Errorf("%s is not ready, and not alive either: %d %s", n.Name, code, body)
	}
}

func TestANodeWithoutAQuorumIsNotReady(t *testing.T) {
	c := Start(t, Options{})
	left := c.Leader()
	others := c.Followers()
	c.awaitReady(left)
	for _, n := range others {
		n.Stop()
	}
	c.awaitUnready(left, "no leader is known: a majority of the 3 voters must be reachable")
	others[0].Start()
	c.awaitReady(left)
	c.awaitReady(others[0])
}

func TestANodeWithAStalledDiskIsNotReady(t *testing.T) {
	c := Start(t, Options{})
	stalled := c.Followers()[0]
	c.awaitReady(stalled)
	stalled.Faults.Stall()
	defer stalled.Faults.Resume()
	c.NewPool("p", &pb.PoolConfig{}) // a disk is found out by what is written
	c.awaitUnready(stalled, "log store: ")
	for _, n := range c.Nodes {
		if n != stalled {
			c.awaitReady(n)
		}
	}
	stalled.Faults.Resume()
	c.awaitReady(stalled)
}
