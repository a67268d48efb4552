package logs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/workerd/spool"
)

// lines is a log whose every byte tells where it is.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%07d\n", i)
	}
	return b.String()
}

// tail is a client: it follows a log on one node after the other, and reads on
// where it stopped.
type tail struct {
	mu   sync.Mutex
	data bytes.Buffer
	last *pb.LogData
	done chan error
}

// follow tails a log from the nodes, in turn, each until it fails.
func follow(ctx context.Context, id spool.ID, nodes func() []*node) *tail {
	t := &tail{done: make(chan error, 1)}
	go func() { t.done <- t.run(ctx, id, nodes) }()
	return t
}

func (t *tail) run(ctx context.Context, id spool.ID, nodes func() []*node) error {
	var err error
	for range 200 {
		for _, n := range nodes() {
			err = n.Read(ctx, &pb.ReadLogRequest{Job: id.Job, Attempt: id.Attempt, Offset: int64(t.size()), Follow: true, Packed: true}, t.take)
			if t.ended() || ctx.Err() != nil {
				return err
			}
		}
	}
	return fmt.Errorf("no node sends the end: %w", err)
}

func (t *tail) take(d *pb.LogData) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.Offset != int64(t.data.Len()) {
		return fmt.Errorf("data at %d, want %d", d.Offset, t.data.Len())
	}
	piece, err := plain(d)
	if err != nil {
		return err
	}
	t.data.Write(piece)
	t.last = d
	return nil
}

func (t *tail) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data.Len()
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data.String()
}

func (t *tail) message() *pb.LogData {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

func (t *tail) ended() bool {
	d := t.message()
	return d.GetComplete() || d.GetIncompleteWhy() != ""
}

func TestFollowAcrossTheSeal(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	var tails []*tail
	for _, n := range c.running() {
		tails = append(tails, follow(t.Context(), id, func() []*node { return []*node{n} }))
	}
	want := lines(1000)
	for part := range slices.Chunk([]byte(want), 1000) {
		write(t, l, string(part))
		eventually(t, "every reader has what is written", func() bool {
			return !slices.ContainsFunc(tails, func(x *tail) bool { return x.size() < int(l.Size()) })
		})
	}
	end(t, l)
	for _, x := range tails {
		if err := <-x.done; err != nil || x.text() != want || !x.message().GetComplete() {
			t.Errorf("a follower got %d bytes of %d, %v, %v", x.size(), len(want), x.message(), err)
		}
	}
}

// The leader dies in the middle of a log. Readers on every node that is left see
// it go on, with no byte lost or repeated.
func TestFailoverWithAHalfShippedLog(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	n1, n2, n3 := c.node("n1"), c.node("n2"), c.node("n3")
	tails := []*tail{
		follow(t.Context(), id, func() []*node { return []*node{n2} }),
		follow(t.Context(), id, func() []*node { return []*node{n3} }),
		follow(t.Context(), id, c.running),
	}
	want := lines(600_000)
	half := len(want) / 2
	write(t, l, want[:half])
	eventually(t, "half of the log is read", func() bool { return tails[0].size() > half/2 })
	c.kill(n1)
	write(t, l, want[half:half+1000])
	c.lead("n2")
	eventually(t, "readers have what was written meanwhile", func() bool { return tails[1].size() >= half+1000 })
	write(t, l, want[half+1000:])
	end(t, l)
	for i, x := range tails {
		if err := <-x.done; err != nil || x.text() != want || !x.message().GetComplete() {
			t.Errorf("follower %d got %d bytes of %d, %v, %v", i, x.size(), len(want), x.message(), err)
		}
	}
	if log := c.sealed(id); !slices.Equal(log.Holders, []string{"n2", "n3"}) {
		t.Errorf("sealed as %v", log)
	}
}

// A new leader that missed the log takes it from the node that has it, not from
// the worker.
func TestNewLeaderFetchesFromAPeer(t *testing.T) {
	c := newCluster(t, "n1", "n2", "n3")
	c.prepare(nil)
	n2, n3 := c.node("n2"), c.node("n3")
	n2.hang = make(chan struct{})
	c.lead("n1")
	w := c.work(spool.Memory(room))
	l, id := w.log()
	want := lines(1_000_000)
	write(t, l, want)
	eventually(t, "n3 has the log", func() bool { return n3.stat(keyFor(id)).Size == int64(len(want)) })
	c.kill(c.node("n1"))
	close(n2.hang)
	if size := n2.stat(keyFor(id)).Size; size != 0 {
		t.Fatalf("n2 has %d bytes of a log that it should have missed", size)
	}
	c.lead("n2")
	write(t, l, "the end\n")
	end(t, l)
	c.sealed(id)
	n2.readComplete(fsm.JobID(id.Job), 1, want+"the end\n")
	if n := value(n2.metrics.pulled); n != float64(len(want)) {
		t.Errorf("n2 fetched %v bytes, want %d", n, len(want))
	}
	if n := value(n2.metrics.in); n > 1000 {
		t.Errorf("the worker sent %v bytes again", n)
	}
}

// The worker is gone for good; what its last leader's peers have can be read.
func TestNewLeaderReadsWhatAPeerHas(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, lines(1000))
	n2 := c.node("n2")
	eventually(t, "n2 has the log", func() bool { return n2.stat(keyFor(id)).Size == 8000 })
	w.stop()
	c.kill(c.node("n1"))
	if err := c.node("n3").disk.Drop(keyFor(id)); err != nil {
		t.Fatal(err)
	}
	c.lead("n3")
	got, last, err := c.node("n3").read(t.Context(), &pb.ReadLogRequest{Job: id.Job})
	if err != nil || got != lines(1000) || last.GetIncompleteWhy() == "" {
		t.Errorf("read %d bytes, %v, %v", len(got), last, err)
	}
}

func TestLeadershipGoesRound(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	x := follow(t.Context(), id, func() []*node { return []*node{c.node("n3"), c.node("n1")} })
	want := lines(100_000)
	i := 0
	for part := range slices.Chunk([]byte(want), len(want)/20) {
		write(t, l, string(part))
		c.lead([]raftnode.NodeID{"n2", "n3", "n1"}[i%3])
		i++
	}
	end(t, l)
	if err := <-x.done; err != nil || x.text() != want {
		t.Errorf("the follower got %d bytes of %d, %v, %v", x.size(), len(want), x.message(), err)
	}
	c.sealed(id)
}
