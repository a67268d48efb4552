package logs

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/logship"
	"github.com/weirbuild/weir/workerd/spool"
)

// stream opens a log stream to the leader by hand.
func (c *cluster) stream(hello *pb.LogHello) logship.Stream {
	c.t.Helper()
	s, _, err := c.dial(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if err := s.Send(&pb.LogUp{Hello: hello}); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// ask offers a log and returns the first answer.
func ask(t *testing.T, s logship.Stream, o *pb.LogOffer) *pb.LogAck {
	t.Helper()
	if err := s.Send(&pb.LogUp{Offers: []*pb.LogOffer{o}}); err != nil {
		t.Fatal(err)
	}
	down, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return down.Acks[0]
}

func TestOnlyTheHolderShips(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	_, id := w.log()
	offer := &pb.LogOffer{Lease: id.Lease, Job: id.Job, Attempt: id.Attempt}
	hellos := map[string]*pb.LogHello{
		"another name": {Pool: "p", Name: "v", InstanceKey: []byte(instanceKey)},
		"another pool": {Pool: "q", Name: "w", InstanceKey: []byte(instanceKey)},
		"another key":  {Pool: "p", Name: "w", InstanceKey: []byte("guessed")},
	}
	for name, hello := range hellos {
		if a := ask(t, c.stream(hello), offer); !a.Refused || !strings.Contains(a.Why, "belongs to worker w of pool p") {
			t.Errorf("%s: %v", name, a)
		}
	}
	own := c.stream(&pb.LogHello{Pool: "p", Name: "w", InstanceKey: []byte(instanceKey)})
	for name, o := range map[string]*pb.LogOffer{
		"another job":     {Lease: id.Lease, Job: id.Job + 1, Attempt: 1},
		"another attempt": {Lease: id.Lease, Job: id.Job, Attempt: 2},
		"no such lease":   {Lease: id.Lease + 1, Job: id.Job, Attempt: 1},
	} {
		if a := ask(t, own, o); !a.Refused {
			t.Errorf("%s: %v", name, a)
		}
	}
	if a := ask(t, own, offer); a.Refused || a.Want != 0 {
		t.Errorf("its own log: %v", a)
	}
}

func TestSealedLogIsNeverOverwritten(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "the truth\n")
	end(t, l)
	c.sealed(id)
	s := c.stream(&pb.LogHello{Pool: "p", Name: "w", InstanceKey: []byte(instanceKey)})
	if a := ask(t, s, &pb.LogOffer{Lease: id.Lease, Job: id.Job, Attempt: id.Attempt}); !a.Sealed {
		t.Errorf("offered again: %v", a)
	}
	if err := s.Send(&pb.LogUp{Chunks: []*pb.LogChunk{{Lease: id.Lease, Data: []byte("a lie"), End: &pb.LogEnd{Bytes: 5}}}}); err != nil {
		t.Fatal(err)
	}
	c.shipped(w, 1, 100) // passes the leader after that
	for _, n := range c.running() {
		n.readComplete(fsm.JobID(id.Job), 1, "the truth\n")
	}
}

func TestLogOverItsLimitIsRefused(t *testing.T) {
	c := newCluster(t, "n1", "n2", "n3")
	c.prepare(&pb.PoolConfig{LogLimitBytes: 1 << 20})
	c.lead("n1")
	w := c.work(spool.Memory(room))
	within, id := w.log()
	write(t, within, strings.Repeat("x", 1<<20+100)) // with the line that says it was cut
	end(t, within)
	c.sealed(id)
	over, id := w.log()
	write(t, over, strings.Repeat("x", 1<<20+limitSlack+1))
	if err := w.spool.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, last, err := c.node("n2").read(t.Context(), request(id))
	if err != nil || len(got) > 1<<20+limitSlack || last.GetIncompleteWhy() == "" {
		t.Errorf("read %d bytes, %v, %v", len(got), last, err)
	}
}

// A store that has other bytes than the worker starts over: the leader's own, a
// peer's, or all.
func TestDifferingCopies(t *testing.T) {
	for _, wrong := range [][]string{{"n1"}, {"n2"}, {"n2", "n3"}, {"n1", "n2", "n3"}} {
		t.Run(strings.Join(wrong, "+"), func(t *testing.T) {
			c := newCluster(t, "n1", "n2", "n3")
			c.prepare(nil)
			w := &worker{c: c, spool: spool.Memory(room)}
			l, id := w.log()
			for _, n := range wrong {
				if _, err := c.find(n).disk.Append(keyFor(id), 0, []byte("other bytes")); err != nil {
					t.Fatal(err)
				}
			}
			c.lead("n1")
			c.work(w.spool)
			want := lines(50_000)
			write(t, l, want)
			end(t, l)
			log := c.sealed(id)
			for _, holder := range log.Holders {
				if got := c.find(holder).stored(keyFor(id)); got != want {
					t.Errorf("%s holds other bytes", holder)
				}
			}
			for _, n := range c.running() {
				n.readComplete(fsm.JobID(id.Job), 1, want)
			}
		})
	}
}

// A worker whose end marker never fits is refused, and the log is not sealed.
func TestWrongDigest(t *testing.T) {
	c, _ := start(t, "n1", "n2", "n3")
	id := c.job()
	s := c.stream(&pb.LogHello{Pool: "p", Name: "w", InstanceKey: []byte(instanceKey)})
	ask(t, s, &pb.LogOffer{Lease: id.Lease, Job: id.Job, Attempt: id.Attempt})
	resends := 0
	for refused := false; !refused; {
		chunk := &pb.LogChunk{Lease: id.Lease, Data: []byte("abc"), End: &pb.LogEnd{Bytes: 3, Sha256: make([]byte, 32)}}
		if err := s.Send(&pb.LogUp{Chunks: []*pb.LogChunk{chunk}}); err != nil {
			t.Fatal(err)
		}
		for resent := false; !resent && !refused; {
			down, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			resent = slices.ContainsFunc(down.Acks, func(a *pb.LogAck) bool { return a.Resend })
			refused = slices.ContainsFunc(down.Acks, func(a *pb.LogAck) bool { return a.Refused })
			if resent {
				resends++
			}
		}
	}
	if resends != 1 || c.logInfo(id) != nil {
		t.Errorf("asked again %d times, sealed as %v", resends, c.logInfo(id))
	}
}

func TestShipNeedsTheLeader(t *testing.T) {
	c, _ := start(t, "n1", "n2", "n3")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, hello, err := c.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&pb.LogUp{Hello: hello}); err != nil {
		t.Fatal(err)
	}
	c.lead("n2")
	if _, err := s.Recv(); kind(err) != "unavailable" {
		t.Errorf("after the term: %v", err)
	}
}
