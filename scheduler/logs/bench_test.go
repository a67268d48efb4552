package logs

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/spool"
)

// BenchmarkSmallLogs is the whole life of logs of 1 KiB, many at once: spooled,
// shipped, stored on three disks, sealed by a committed command, dropped.
func BenchmarkSmallLogs(b *testing.B) {
	c, w := start(b, "n1", "n2", "n3")
	line := []byte(strings.Repeat("x", 1023) + "\n")
	const group = 900
	b.SetBytes(int64(len(line)))
	for done := 0; done < b.N; {
		n := min(group, b.N-done)
		b.StopTimer()
		ids := c.jobs(n)
		b.StartTimer()
		for _, id := range ids {
			l, err := w.spool.Create(id)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := l.Write(line); err != nil {
				b.Fatal(err)
			}
			end(b, l)
		}
		if err := w.spool.WaitEmpty(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		c.finishAll(ids)
		b.StartTimer()
		done += n
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logs/s")
}

// BenchmarkTail is one log from its worker through the leader to a follower.
func BenchmarkTail(b *testing.B) {
	c := newCluster(b, "n1", "n2", "n3")
	c.prepare(&pb.PoolConfig{LogLimitBytes: room})
	c.lead("n1")
	w := c.work(spool.Memory(room))
	l, id := w.log()
	part := []byte(strings.Repeat(strings.Repeat("x", 79)+"\n", 400))
	b.SetBytes(int64(len(part)))
	x := &tail{done: make(chan error, 1)}
	go func() {
		x.done <- c.node("n1").Read(context.Background(), &pb.ReadLogRequest{Job: id.Job, Follow: true}, func(d *pb.LogData) error {
			x.mu.Lock()
			x.last = d
			x.mu.Unlock()
			return nil
		})
	}()
	for b.Loop() {
		if _, err := l.Write(part); err != nil {
			b.Fatal(err)
		}
	}
	end(b, l)
	if err := <-x.done; err != nil || !x.message().Complete {
		b.Fatal(err, x.message())
	}
}

// BenchmarkFailover is the time from a leader's death, with 200 MB written, to
// new bytes at a reader on another node.
func BenchmarkFailover(b *testing.B) {
	for range b.N {
		b.StopTimer()
		c, w := start(b, "n1", "n2", "n3")
		l, id := w.log()
		x := follow(b.Context(), id, func() []*node { return []*node{c.node("n3")} })
		part := strings.Repeat("0123456789abcde\n", 1<<16)
		for range 200 {
			write(b, l, part)
		}
		eventually(b, "the reader has most of it", func() bool { return x.size() > 150<<20 })
		b.StartTimer()
		c.kill(c.node("n1"))
		write(b, l, "new\n")
		c.lead("n2")
		eventually(b, "the reader has all of it", func() bool { return x.size() == 200<<20+4 })
		b.StopTimer()
		end(b, l)
		if err := <-x.done; err != nil {
			b.Fatal(err)
		}
		w.stop()
	}
}

// jobs makes n running jobs.
func (c *cluster) jobs(n int) []spool.ID {
	ids := make([]spool.ID, n)
	sum := sha256.Sum256(nil)
	c.many(n, func(i int) *pb.Command {
		return &pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{Client: "c", Pool: "p", SpecSha256: sum[:], Slots: 1, GrantTo: "w"}}}
	}, func(i int, r fsm.Result) {
		ids[i] = spool.ID{Lease: uint64(r.Lease), Job: uint64(r.Job), Attempt: uint32(r.Attempt)}
	})
	return ids
}

func (c *cluster) finishAll(ids []spool.ID) {
	key := sha256.Sum256([]byte(instanceKey))
	c.many(len(ids), func(i int) *pb.Command {
		return &pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{
			Lease: ids[i].Lease, Holder: &pb.Holder{Pool: "p", Worker: "w", KeySha256: key[:]},
			Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED},
		}}}
	}, func(int, fsm.Result) {})
}

func (c *cluster) many(n int, make func(int) *pb.Command, done func(int, fsm.Result)) {
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		c.store.ProposeAsync(make(i), func(r fsm.Result, err error) {
			if err != nil {
				c.t.Errorf("propose: %v", err)
			}
			done(i, r)
			wg.Done()
		})
	}
	wg.Wait()
}

// BenchmarkSeal is the way of one log when nothing else is under way: from its
// last byte to its seal.
func BenchmarkSeal(b *testing.B) {
	c, w := start(b, "n1", "n2", "n3")
	for b.Loop() {
		b.StopTimer()
		l, id := w.log()
		write(b, l, "x")
		b.StartTimer()
		end(b, l)
		if err := w.spool.WaitEmpty(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		c.finish(id, pb.OutcomeKind_OUTCOME_SUCCEEDED)
		b.StartTimer()
	}
}
