package lead

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// The same process comes back before its old stream is known to be dead.
func TestReconnectSupersedes(t *testing.T) {
	c := newCluster(t, quick)
	old := c.connect(hello("w", 1))
	old.freeze(true) // would not answer a probe, and is not asked
	begun := time.Now()
	w := c.connect(hello("w", 1))
	if err := old.awaitEnd(); !errors.Is(err, errSuperseded) {
		t.Errorf("the old session ended: %v", err)
	}
	if took := time.Since(begun); took > probeTime {
		t.Errorf("a reconnect took %v: it was probed for", took)
	}
	id := c.submit(&pb.JobSpec{})
	if g := w.awaitGrant(); g.Job != uint64(id) {
		t.Errorf("grant: %v", g)
	}
}

// The same state directory in another process: a restart when the old process
// is gone, a copy when it answers.
func TestSameKeyOtherProcess(t *testing.T) {
	c := newCluster(t, quick)
	old := c.connect(hello("w", 1))
	answering := make(chan struct{})
	go func() {
		defer close(answering)
		for {
			select {
			case m := <-old.down:
				old.take(m)
			case <-old.ctx.Done():
				return
			}
		}
	}()
	h := hello("w", 1)
	h.BootId = "boot-2"
	err := c.dial(h, Caller{Remote: "clone"}).awaitEnd()
	if !is(err, fsm.Conflict) || !strings.Contains(err.Error(), "copy of this worker's state directory") {
		t.Errorf("a clone was told: %v", err)
	}
	if old.ctx.Err() != nil {
		t.Error("the clone has displaced the first")
	}
	old.freeze(true)
	c.connect(h)
	if err := old.awaitEnd(); !errors.Is(err, errSuperseded) {
		t.Errorf("the old session ended: %v", err)
	}
	<-answering
}

// A name belongs to one instance key until that one is silent for a time to live
// and has no leases.
func TestOtherKey(t *testing.T) {
	c := newCluster(t, quick)
	old := c.connect(hello("w", 1))
	thief := hello("w", 1)
	thief.InstanceKey = []byte("quite another instance key")
	refused := func(want string) {
		t.Helper()
		if err := c.dial(thief, Caller{Remote: "thief"}).awaitEnd(); !is(err, fsm.Conflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("another key was told: %v; want %q", err, want)
		}
	}
	refused("is connected with another instance key")
	c.submit(&pb.JobSpec{})
	g := old.awaitGrant()
	old.finish(g.Lease, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	old.hangUp()
	refused("may still come back")
	c.eventually("the name is free", func() bool {
		w := c.dial(thief, Caller{Remote: "thief"})
		select {
		case m := <-w.down:
			w.take(m)
			return w.welcome != nil
		case err := <-w.ended:
			w.ended <- err
			return false
		}
	})
	if err := c.dial(hello("w", 1), Caller{}).awaitEnd(); !is(err, fsm.Conflict) {
		t.Errorf("the old key was told: %v", err)
	}
}

func TestOtherKeyWaitsForLeases(t *testing.T) {
	c := newCluster(t, Config{LeaseTTL: time.Hour, Election: time.Millisecond, ReconnectMax: time.Millisecond})
	old := c.connect(hello("w", 1))
	c.submit(&pb.JobSpec{})
	old.awaitGrant()
	old.hangUp()
	thief := hello("w", 1)
	thief.InstanceKey = []byte("quite another instance key")
	if err := c.dial(thief, Caller{}).awaitEnd(); !is(err, fsm.Conflict) || !strings.Contains(err.Error(), "whose leases (1) are not over") {
		t.Errorf("another key was told: %v", err)
	}
}

// Hellos that can't be served, and what they are told.
func TestRefusedHello(t *testing.T) {
	c := newCluster(t, quick)
	tests := []struct {
		name   string
		change func(*pb.WorkerHello)
		kind   fsm.Kind
	}{
		{"an unknown pool", func(h *pb.WorkerHello) { h.Pool = "q" }, fsm.NotFound},
		{"no instance key", func(h *pb.WorkerHello) { h.InstanceKey = nil }, fsm.Invalid},
		{"a bad name", func(h *pb.WorkerHello) { h.Name = "a b" }, fsm.Invalid},
		{"too many slots", func(h *pb.WorkerHello) { h.Slots = 1 << 30 }, fsm.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := hello("w", 1)
			tt.change(h)
			if err := c.dial(h, Caller{}).awaitEnd(); !is(err, tt.kind) {
				t.Errorf("told: %v", err)
			}
		})
	}
	w := c.connect(hello("w", 1))
	w.say(&pb.WorkerMessage{Hello: w.hello})
	if err := w.awaitEnd(); !is(err, fsm.Invalid) {
		t.Errorf("a second hello: %v", err)
	}
}

// What a worker offers may change from one session to the next.
func TestChangedOffer(t *testing.T) {
	c := newCluster(t, quick)
	first := c.connect(hello("w", 1))
	c.submit(&pb.JobSpec{})
	first.awaitGrant()
	wide := c.submit(&pb.JobSpec{Slots: 2})
	first.idle()
	h := hello("w", 3)
	h.HighestLease, h.Running = 1<<60, []*pb.RunningAttempt{{Lease: uint64(c.job(1).Lease)}}
	w := c.connect(h)
	if g := w.awaitGrant(); g.Job != uint64(wide) {
		t.Errorf("grant: %v", g)
	}
}

func TestForget(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 1))
	c.do(&pb.Command{Op: &pb.Command_ForgetWorker{ForgetWorker: &pb.ForgetWorker{Pool: "p", Name: "w"}}})
	if err := w.awaitEnd(); !is(err, fsm.Refused) {
		t.Errorf("a forgotten worker was told: %v", err)
	}
	other := hello("w", 1)
	other.InstanceKey = []byte("quite another instance key")
	c.connect(other) // the name is free at once
}

func TestPoolDeleted(t *testing.T) {
	c := newCluster(t, quick)
	w := c.connect(hello("w", 1))
	c.do(&pb.Command{Op: &pb.Command_DeletePool{DeletePool: &pb.DeletePool{Name: "p"}}})
	if err := w.awaitEnd(); !is(err, fsm.NotFound) {
		t.Errorf("a worker of a deleted pool was told: %v", err)
	}
}

func TestWorkersList(t *testing.T) {
	c := newCluster(t, quick)
	c.connectBy(hello("relayed", 2), Caller{RelayedBy: "n2"})
	draining := hello("draining", 1)
	draining.Status = &pb.WorkerStatus{Ready: true, Draining: true}
	c.connect(draining)
	frozen := c.connect(hello("frozen", 1))
	c.connect(hello("gone", 1)).hangUp()
	frozen.freeze(true)
	want := map[string]string{"relayed": "ready", "draining": "draining", "frozen": "silent", "gone": "disconnected"}
	c.eventually("one is silent", func() bool {
		for _, w := range c.leader.Workers("p") {
			if w.Name == "frozen" {
				return w.State == "silent"
			}
		}
		return false
	})
	list := c.leader.Workers("")
	for _, w := range list {
		if w.State != want[w.Name] || w.Connected != (w.Name != "gone") || w.LastHeardMsAgo == 0 || (w.RelayedBy == "n2") != (w.Name == "relayed") {
			t.Errorf("%v, want %s", w, want[w.Name])
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d workers, want %d", len(list), len(want))
	}
}
