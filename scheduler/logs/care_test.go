package logs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore/disk"
	"github.com/weirbuild/weir/workerd/spool"
)

// shipped makes n sealed logs of finished jobs.
func (c *cluster) shipped(w *worker, n, size int) map[spool.ID]string {
	c.t.Helper()
	all := make(map[spool.ID]string)
	for range n {
		l, id := w.log()
		all[id] = hexText(uint64(id.Job), size)
		write(c.t, l, all[id])
		end(c.t, l)
		c.finish(id, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	}
	if err := w.spool.WaitEmpty(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	return all
}

// hexText is text that cannot be packed.
func hexText(seed uint64, size int) string {
	r, b := rand.New(rand.NewPCG(seed, 0)), new(strings.Builder)
	for b.Len() < size {
		fmt.Fprintf(b, "%016x\n", r.Uint64())
	}
	return b.String()[:size]
}

// replace removes a node with its disk and starts an empty one, under a new id.
func (c *cluster) replace(old, with raftnode.NodeID) {
	c.t.Helper()
	led := c.leaderID() == old
	c.kill(c.node(old))
	c.remove(old)
	c.start(with, c.t.TempDir())
	if led {
		for _, n := range c.running() {
			if n.id != with {
				c.lead(n.id)
				return
			}
		}
	}
}

// Two nodes are replaced one after the other, and then the third: every log
// still reads, from the new ones alone.
func TestReplaceTheNodesOneAfterTheOther(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	all := c.shipped(w, 30, 20_000)
	l, id := w.log()
	all[id] = lines(300_000)
	write(t, l, all[id])
	end(t, l)
	c.sealed(id)
	for old, with := range map[raftnode.NodeID]raftnode.NodeID{"n1": "n4", "n2": "n5", "n3": "n6"} {
		c.replace(old, with)
		eventually(t, "every log has two members again", func() bool {
			members := c.node(c.leaderID()).current().memberIDs()
			for id := range all {
				if held(c.logInfo(id), members) < 2 {
					return false
				}
			}
			return true
		})
	}
	for _, n := range c.running() {
		for id, text := range all {
			n.readComplete(fsm.JobID(id.Job), 1, text)
		}
	}
}

func TestDamagedCopyIsMadeAgain(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	all := c.shipped(w, 3, 1000)
	for id := range all {
		for _, holder := range c.logInfo(id).Holders[:1] { // as if its disk had lost it
			if err := c.find(holder).disk.Drop(keyFor(id)); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range c.running() {
			if !slices.Contains(c.logInfo(id).Holders, string(n.id)) {
				n.disk.Drop(keyFor(id))
			}
		}
	}
	for id, text := range all {
		eventually(t, "two nodes have it again", func() bool {
			have := 0
			for _, n := range c.running() {
				if n.whole(keyFor(id), c.logInfo(id)) && n.stored(keyFor(id)) == text {
					have++
				}
			}
			return have >= 2
		})
	}
}

// The oldest logs go when the disks are full, and then read as expired.
func TestEvictedLogsExpire(t *testing.T) {
	c := newCluster(t)
	c.opts = disk.Options{SegmentBytes: 64 << 10, BudgetBytes: 512 << 10}
	for _, id := range []raftnode.NodeID{"n1", "n2", "n3"} {
		c.start(id, t.TempDir())
	}
	c.prepare(nil)
	c.lead("n1")
	w := c.work(spool.Memory(room))
	first := c.shipped(w, 1, 10_000)
	for range 30 { // more than the budget of each, whichever peer gets a log
		c.shipped(w, 10, 10_000)
	}
	for id := range first {
		eventually(t, "the oldest log is expired", func() bool { return c.logInfo(id).GetExpired() })
		for _, n := range c.running() {
			if _, _, err := n.read(t.Context(), request(id)); kind(err) != "expired" {
				t.Errorf("%s reads an expired log: %v", n.id, err)
			}
		}
	}
	last := c.shipped(w, 1, 10_000)
	for id, text := range last {
		for _, n := range c.running() {
			n.readComplete(fsm.JobID(id.Job), 1, text)
		}
	}
}

func TestTrimmedJobsLeaveTheDisks(t *testing.T) {
	c := newCluster(t, "n1", "n2", "n3")
	c.prepare(&pb.PoolConfig{KeepJobs: 1})
	c.lead("n1")
	w := c.work(spool.Memory(room))
	all := c.shipped(w, 20, 1000)
	ahead := c.store.Now() + 20*60*1000 // jobs are kept ten minutes at least
	tick, err := proto.Marshal(&pb.Command{IssuedAtMs: ahead, Op: &pb.Command_Tick{Tick: &pb.Tick{}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Node().Propose(t.Context(), tick); err != nil {
		t.Fatal(err)
	}
	var old []uint64
	c.store.View(func(st *fsm.State) {
		for _, id := range st.Trimmable(st.Now(), "p", 100) {
			old = append(old, uint64(id))
		}
	})
	if len(old) < 19 {
		t.Fatalf("%d jobs can be trimmed", len(old))
	}
	c.propose(&pb.Command{Op: &pb.Command_Trim{Trim: &pb.Trim{Jobs: old}}})
	for _, n := range c.running() {
		eventually(t, "the logs are dropped", func() bool { return n.disk.Usage().Logs <= len(all)-len(old) })
	}
	for id := range all {
		if slices.Contains(old, id.Job) {
			if _, _, err := c.node("n2").read(t.Context(), request(id)); kind(err) != "expired" {
				t.Errorf("a trimmed job: %v", err)
			}
		}
	}
}

// What a node keeps of logs that nobody counts on goes away by itself.
func TestSweep(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	c.kill(c.node("n3"))
	all := c.shipped(w, 2, 1000)
	n4 := c.start("n4", t.TempDir())
	unknown, partial := keyFor(spool.ID{Job: 999, Attempt: 1}), keyFor(firstOf(all))
	for _, k := range []struct{ job, attempt uint64 }{{unknown.Job, 1}, {partial.Job, 1}} {
		if _, err := n4.disk.Append(keyOf(fsm.JobID(k.job), 1), 0, []byte("0")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the useless piece is dropped", func() bool {
		_, ok := n4.disk.Stat(partial)
		return !ok
	})
	if _, ok := n4.disk.Stat(unknown); !ok {
		t.Error("a log of a job that this node has not heard of is gone")
	}
}

func firstOf(all map[spool.ID]string) (id spool.ID) {
	for id = range all {
		break
	}
	return id
}

// The commit goroutine answers a copy that was given up meanwhile: it must not
// wait for anybody.
func TestGivenUpCopyIsAnsweredLater(t *testing.T) {
	tm, f := &term{}, &flow{settled: make(chan error, 1)}
	tm.close(f, context.Canceled)
	tm.close(f, nil)
	if err := <-f.settled; !errors.Is(err, context.Canceled) {
		t.Errorf("it was given up with %v", err)
	}
}
