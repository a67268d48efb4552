package logs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// A leader whose disk is full wants to hand its office over, once. The next one
// has the logs sealed. When there is room again, its warning goes.
func TestFullLeaderYields(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	n1 := c.node("n1")
	n1.full.Store(true)
	l, id := w.log()
	want := lines(1000)
	write(t, l, want)
	end(t, l)
	eventually(t, "the leader wants to hand its office over", func() bool { return n1.yielded.Load() > 0 })
	if why := n1.Trouble(); !strings.Contains(why, "the disk of the log store is full") {
		t.Errorf("it says %q", why)
	}
	if c.logInfo(id) != nil {
		t.Error("a log was sealed that its leader could not store")
	}
	c.lead("n2")
	c.sealed(id)
	if n := n1.yielded.Load(); n != 1 {
		t.Errorf("it wanted to hand its office over %d times", n)
	}
	c.node("n3").readComplete(fsm.JobID(id.Job), 1, want)

	n1.full.Store(false)
	l, id = w.log()
	write(t, l, want) // one that grows goes to all
	eventually(t, "the node takes logs again", func() bool { return n1.Trouble() == "" })
	end(t, l)
	c.sealed(id)
}

// The office does not go round where all disks are full, and a failure of long
// ago is none.
func TestTroubleYieldsOnceInAWhile(t *testing.T) {
	var tr trouble
	now := time.Now()
	full := errors.New("full")
	at := func(d time.Duration) bool { return tr.yields(now.Add(d), 2*time.Second) }
	fail := func(d time.Duration) { tr.note(full, now.Add(d)) }
	if at(0) {
		t.Error("a store in order yields")
	}
	fail(0)
	if at(time.Second) {
		t.Error("yields at once")
	}
	if at(3 * time.Second) {
		t.Error("yields for a failure that did not come again")
	}
	fail(3 * time.Second)
	if !at(3 * time.Second) {
		t.Error("does not yield")
	}
	for d := 4 * time.Second; d < time.Minute; d += time.Second {
		if fail(d); at(d) {
			t.Fatalf("yields again after %v", d)
		}
	}
	if fail(64 * time.Second); !at(64 * time.Second) {
		t.Error("does not yield a minute later")
	}
	if _, after := tr.note(nil, now.Add(65*time.Second)); after != 65*time.Second || at(2*time.Minute) {
		t.Errorf("the end of %v of trouble", after)
	}
}
