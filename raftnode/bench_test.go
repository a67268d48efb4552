package raftnode

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkGroupCommit commits commands of 200 bytes on three nodes with real
// disks and TLS in this process, with so many callers that each wait for their
// result before the next.
func BenchmarkGroupCommit(b *testing.B) {
	for _, store := range []string{Bolt, WAL} {
		for _, callers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("%s/%d", store, callers), func(b *testing.B) { benchmarkCommit(b, store, callers) })
		}
	}
}

func benchmarkCommit(b *testing.B, store string, callers int) {
	c := newTestCluster(b, 3, func(c *Config) { c.LogStore = store; c.Profile = Default })
	c.startAll()
	leader := c.leader()
	command := make([]byte, 200)
	latencies := make([]time.Duration, b.N)
	next := make(chan int, callers)
	for range callers {
		next <- 0
	}
	var pending sync.WaitGroup
	b.ResetTimer()
	for i := range b.N {
		<-next
		pending.Add(1)
		begun := time.Now()
		leader.node.ProposeAsync(command, func(_ any, err error) {
			if err != nil {
				b.Error(err)
			}
			latencies[i] = time.Since(begun)
			next <- 0
			pending.Done()
		})
	}
	pending.Wait()
	b.StopTimer()
	slices.Sort(latencies)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(latencies[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(latencies[b.N*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(b.N)/float64(leader.machine.batches), "commands/entry")
}
