package raftnode

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// keepProposing has a write under way for as long as the returned function is
// not called: a disk that hangs is noticed by writes.
func (c *testCluster) keepProposing() (stop func() (acknowledged []string)) {
	quit := make(chan struct{})
	var acknowledged []string
	var work sync.WaitGroup
	work.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			for _, n := range c.nodes {
				if !n.node.Status().InOffice {
					continue
				}
				command := fmt.Sprintf("w%d", i)
				answered := make(chan error, 1)
				n.node.ProposeAsync([]byte(command), func(_ any, err error) { answered <- err })
				if err := <-answered; err == nil {
					acknowledged = append(acknowledged, command)
				}
			}
		}
	})
	return func() []string {
		close(quit)
		work.Wait()
		return acknowledged
	}
}

func TestAStalledLeaderDiskCostsItItsOffice(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, tune)
		c.startAll()
		old := c.leader()
		term := <-old.terms
		stop := c.keepProposing()
		c.propose("before")
		stalled := time.Now()
		old.faults.Stall()
		<-term.Done()
		if took := time.Since(stalled); took > 3*time.Second {
			t.Errorf("in office for %v with a disk that hangs", took)
		}
		c.leader(old)
		c.propose("after")
		if why := old.node.Status().Why; !strings.Contains(why, "log store") {
			t.Errorf("the stalled node is ready, or says %q", why)
		}
		old.faults.Resume()
		c.converge(append(stop(), "before", "after")...)
		eventually(t, "the old leader's recovery", func() error {
			if s := old.node.Status(); !s.Ready {
				return errors.New(s.Why)
			}
			return nil
		})
	})
}

func TestDisksThatStallTogetherResumeAlone(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, tune)
		c.startAll()
		stop := c.keepProposing()
		c.propose("before")
		leader := c.leader()
		for _, n := range c.nodes {
			n.faults.Stall()
		}
		for i := range depth { // one that waits for the others has nothing more to write
			leader.node.ProposeAsync(fmt.Appendf(nil, "more%d", i), func(any, error) {})
		}
		eventually(t, "the notice", func() error {
			if why := leader.node.Status().Why; !strings.Contains(why, " store: ") {
				return fmt.Errorf("the leader says %q", why)
			}
			return nil
		})
		// Now it decides again and again whether to give up, and asks the others.
		asked := counter(t, leader.node.metrics.unheard)
		eventually(t, "the others' silence", func() error {
			if n := counter(t, leader.node.metrics.unheard) - asked; leader.node.leading() && n < 3 {
				return fmt.Errorf("asked %v times in vain", n)
			}
			return nil
		})
		for _, n := range c.nodes {
			if counter(t, n.node.metrics.givenUp) > 0 {
				t.Errorf("%s gave up its office though no other disk works", n.name)
			}
			n.faults.Resume()
		}
		c.propose("after")
		c.converge(append(stop(), "before", "after")...)
	})
}

func TestAFollowerWithStoreErrorsCatchesUp(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := newTestCluster(t, 3, tune)
		c.startAll()
		leader := c.leader()
		follower := c.followers(leader)[0]
		stop := c.keepProposing()
		follower.faults.Fail(func() error {
			if rand.IntN(3) > 0 {
				return syscall.EIO
			}
			return nil
		})
		for i := range 30 {
			c.propose(fmt.Sprintf("during%d", i))
		}
		follower.faults.Fail(func() error { return syscall.ENOSPC })
		c.propose("while it is full")
		eventually(t, "its confession", func() error {
			if s := follower.node.Status(); s.Ready || !strings.Contains(s.Why, "no space") {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		follower.faults.Fail(nil)
		c.converge(append(stop(), "during29", "while it is full")...)
	})
}

func TestALeaderWhoseStoreFailsGivesUpItsOffice(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, 3, nil)
	c.startAll()
	old := c.leader()
	stop := c.keepProposing()
	old.faults.Fail(func() error { return syscall.EIO })
	c.leader(old)
	c.propose("after")
	old.faults.Fail(nil)
	c.converge(append(stop(), "after")...)
}

// counter reads a counter.
func counter(t *testing.T, c prometheus.Collector) float64 {
	r := prometheus.NewRegistry()
	must(t, r.Register(c))
	families, err := r.Gather()
	must(t, err)
	return families[0].Metric[0].GetCounter().GetValue()
}

// testOffice is the office of a node whose peers' disks work. It leads, or not.
type testOffice struct{ leads bool }

func (o *testOffice) leading() bool   { return o.leads }
func (*testOffice) askOthers()        {}
func (*testOffice) othersWrite() bool { return true }

// newGuard returns a guarded log of its own, with faults.
func newGuard(t *testing.T, store string, office office) (*guardedLog, *Faults) {
	faults := &Faults{}
	c := Config{DataDir: t.TempDir(), LogStore: store, Faults: faults, Logger: hclog.NewNullLogger()}
	g := &guardedLog{
		open: c.openLog, monotonic: store == WAL, deadline: 50 * time.Millisecond, office: office, health: &health{},
		metrics: newMetrics(nil), log: c.Logger, closing: make(chan struct{}),
	}
	var err error
	g.store, err = c.openLog()
	must(t, err)
	t.Cleanup(func() { close(g.closing); faults.Resume(); must(t, g.close()) })
	return g, faults
}

func entries(term uint64, first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: term, Data: []byte("x")})
	}
	return logs
}

func TestAnAbandonedAppendLeavesNothingBehind(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := Config{}
		tune(&c)
		office := &testOffice{}
		g, faults := newGuard(t, c.LogStore, office)
		must(t, g.StoreLogs(entries(1, 1, 3)))
		office.leads = true
		faults.Stall()
		if err := g.StoreLogs(entries(1, 4, 6)); !errors.Is(err, errStalled) {
			t.Fatal(err)
		}
		faults.Resume()
		office.leads = false // now a follower of the next leader, whose log is shorter
		must(t, g.StoreLogs(entries(2, 4, 4)))
		last, err := g.LastIndex()
		must(t, err)
		var l raft.Log
		must(t, g.GetLog(4, &l))
		if last != 4 || l.Term != 2 {
			t.Fatalf("the log ends at %d, entry 4 is of term %d", last, l.Term)
		}
	})
}

func TestAFailedAppendIsTriedAgainOnAReopenedStore(t *testing.T) {
	stores(t, func(t *testing.T, tune func(*Config)) {
		c := Config{}
		tune(&c)
		g, faults := newGuard(t, c.LogStore, &testOffice{})
		failures := 5
		faults.Fail(func() error {
			if failures--; failures >= 0 {
				return syscall.EIO
			}
			return nil
		})
		must(t, g.StoreLogs(entries(1, 1, 1)))
		must(t, g.StoreLogs(entries(1, 2, 700)))
		must(t, g.DeleteRange(1, 300))
		must(t, g.DeleteRange(400, 700))
		first, err := g.FirstIndex()
		must(t, err)
		last, err := g.LastIndex()
		must(t, err)
		if first != 301 || last != 399 {
			t.Fatalf("entries %d to %d are left", first, last)
		}
	})
}
