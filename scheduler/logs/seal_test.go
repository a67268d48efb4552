package logs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/workerd/spool"
)

const room = 1 << 30

func start(t testing.TB, names ...raftnode.NodeID) (*cluster, *worker) {
	c := newCluster(t, names...)
	c.prepare(nil)
	c.lead(names[0])
	return c, c.work(spool.Memory(room))
}

func TestLogIsSealedOnAMajority(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	want := map[spool.ID]string{}
	for i := range 100 {
		l, id := w.log()
		want[id] = strings.Repeat(fmt.Sprintf("line %d\n", i), i*i)
		write(t, l, want[id])
		end(t, l)
	}
	if err := w.spool.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, text := range want {
		log := c.logInfo(id)
		if log.GetBytes() != int64(len(text)) || len(log.Holders) < 2 || !slices.Contains(log.Holders, "n1") {
			t.Fatalf("job %d is sealed as %v", id.Job, log)
		}
		for _, holder := range log.Holders {
			if got := c.node(raftnode.NodeID(holder)).stored(keyFor(id)); got != text {
				t.Errorf("%s holds other bytes of job %d", holder, id.Job)
			}
		}
		for _, n := range c.running() {
			n.readComplete(fsm.JobID(id.Job), 1, text)
		}
	}
}

func TestOneNode(t *testing.T) {
	c, w := start(t, "n1")
	l, id := w.log()
	write(t, l, "alone\n")
	end(t, l)
	if log := c.sealed(id); !slices.Equal(log.Holders, []string{"n1"}) {
		t.Fatalf("sealed as %v", log)
	}
	c.node("n1").readComplete(fsm.JobID(id.Job), 1, "alone\n")
}

func TestEmptyLog(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	end(t, l)
	c.sealed(id)
	for _, n := range c.running() {
		n.readComplete(fsm.JobID(id.Job), 1, "")
	}
}

func TestDeadPeer(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	c.kill(c.node("n3"))
	l, id := w.log()
	write(t, l, "x")
	end(t, l)
	if log := c.sealed(id); !slices.Equal(log.Holders, []string{"n1", "n2"}) {
		t.Fatalf("sealed as %v", log)
	}
}

func TestSlowPeer(t *testing.T) {
	c := newCluster(t, "n1", "n2", "n3")
	c.prepare(nil)
	c.node("n2").hang = make(chan struct{})
	c.lead("n1")
	w := c.work(spool.Memory(room))
	l, id := w.log()
	write(t, l, strings.Repeat("x", 10<<20))
	end(t, l)
	if log := c.sealed(id); !slices.Equal(log.Holders, []string{"n1", "n3"}) {
		t.Fatalf("sealed as %v", log)
	}
	close(c.node("n2").hang)
	l, id2 := w.log()
	end(t, l)
	c.sealed(id2)
	c.node("n2").readComplete(fsm.JobID(id.Job), 1, strings.Repeat("x", 10<<20))
}

func TestNoMajorityNoSeal(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	c.kill(c.node("n2"))
	n3 := c.node("n3")
	c.kill(n3)
	l, id := w.log()
	write(t, l, "x")
	end(t, l)
	eventually(t, "the leader has it on disk", func() bool {
		info, _ := c.node("n1").disk.Stat(keyFor(id))
		return info.Durable == 1
	})
	if log := c.logInfo(id); log != nil {
		t.Fatalf("sealed on one node of three: %v", log)
	}
	if logs, _, _ := w.spool.Usage(); logs != 1 {
		t.Fatal("the worker dropped its copy of a log that is not sealed")
	}
	c.start("n3", n3.dir)
	c.sealed(id)
}
