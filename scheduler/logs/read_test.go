package logs

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/api"
	"github.com/weirbuild/weir/workerd/spool"
)

func request(id spool.ID) *pb.ReadLogRequest {
	return &pb.ReadLogRequest{Job: id.Job, Attempt: id.Attempt}
}

// kind is the kind of refusal that an error is, here or from another node.
func kind(err error) string {
	if r, ok := errors.AsType[*fsm.Refusal](err); ok {
		return string(r.Kind)
	}
	if status.Code(api.Status(err)) == codes.Unavailable {
		return "unavailable"
	}
	return status.Code(err).String()
}

// An unsealed log never ends as if it were complete, on any node.
func TestUnsealedLogSaysWhoHasTheRest(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "so far\n")
	eventually(t, "the leader has it", func() bool { return c.node("n1").stat(keyFor(id)).Size == 7 })
	c.hear(Liveness{Known: true, Ago: 12 * time.Second})
	for _, n := range c.running() {
		got, last, err := n.read(t.Context(), request(id))
		if err != nil || got != "so far\n" || last.GetComplete() {
			t.Fatalf("%s: %q, %v, %v", n.id, got, last, err)
		}
		want := "attempt 1 still runs; worker w of pool p holds the rest; it was last heard 12s ago"
		if last.IncompleteWhy != want {
			t.Errorf("%s says %q, want %q", n.id, last.IncompleteWhy, want)
		}
	}
}

// A follower hears of a pause, and goes on waiting; the log goes on when the
// worker comes back.
func TestFollowNotesAPause(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "one\n")
	x := follow(t.Context(), id, func() []*node { return []*node{c.node("n2")} })
	eventually(t, "the follower has the first line", func() bool { return x.size() == 4 })
	w.stop()
	c.hear(Liveness{Known: true, Ago: 5 * time.Second})
	eventually(t, "a note", func() bool { return x.message().GetNote() != "" })
	if note := x.message().Note; !strings.Contains(note, "worker w of pool p") || !strings.Contains(note, "last heard 5s ago") {
		t.Errorf("note %q", note)
	}
	c.hear(Liveness{Known: true, Connected: true})
	c.work(w.spool)
	write(t, l, "two\n")
	end(t, l)
	if err := <-x.done; err != nil || x.text() != "one\ntwo\n" || !x.message().Complete {
		t.Errorf("%q, %v, %v", x.text(), x.message(), err)
	}
}

// The attempt was lost with its worker, for good: the log stays readable, and
// followers are told that it is not complete.
func TestLogOfALostWorker(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "last words\n")
	eventually(t, "the leader has it", func() bool { return c.node("n1").stat(keyFor(id)).Size == 11 })
	w.stop()
	c.hear(Liveness{Known: true, Ago: time.Minute})
	x := follow(t.Context(), id, func() []*node { return []*node{c.node("n3")} })
	c.propose(&pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{Lease: id.Lease, Why: pb.OutcomeKind_OUTCOME_WORKER_LOST}}})
	if err := <-x.done; err != nil || x.text() != "last words\n" || x.message().Complete {
		t.Fatalf("%q, %v, %v", x.text(), x.message(), err)
	}
	if why := x.message().IncompleteWhy; !strings.Contains(why, "attempt 1 is over; worker w of pool p holds the rest") {
		t.Errorf("why %q", why)
	}
}

// Once a worker is forgotten, or its name is another machine's, its unsealed logs
// are final: readers need not wait for it, whoever is connected under its name.
func TestLogOfAForgottenWorker(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "last words\n")
	eventually(t, "the leader has it", func() bool { return c.node("n1").stat(keyFor(id)).Size == 11 })
	w.stop()
	c.propose(&pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{Lease: id.Lease, Why: pb.OutcomeKind_OUTCOME_WORKER_REVOKED}}})
	c.hear(Liveness{Known: true, Ago: 12 * time.Second})
	says := func(want string) {
		t.Helper()
		x := follow(t.Context(), id, func() []*node { return []*node{c.node("n3")} })
		if err := <-x.done; err != nil || x.text() != "last words\n" || !strings.Contains(x.message().IncompleteWhy, want) {
			t.Errorf("%q, %v, %v; want it to say %q", x.text(), x.message(), err, want)
		}
	}
	says("it was last heard 12s ago; its capability was revoked: start it with another one")
	c.hear(Liveness{Known: true, Connected: true})
	key := sha256.Sum256([]byte("another machine's"))
	c.propose(&pb.Command{Op: &pb.Command_RegisterWorker{RegisterWorker: &pb.RegisterWorker{
		Pool: "p", Name: "w", KeySha256: key[:], Slots: 1, Replace: true,
	}}})
	says("is lost: worker w of pool p is another machine now")
	c.propose(&pb.Command{Op: &pb.Command_ForgetWorker{ForgetWorker: &pb.ForgetWorker{Pool: "p", Name: "w"}}})
	says("is lost: worker w of pool p was forgotten")
}

// A worker is connected, and has nothing of the log of an attempt that is over:
// its disk had no room to begin one.
func TestLogThatItsWorkerDoesNotOffer(t *testing.T) {
	c, _ := start(t, "n1", "n2", "n3")
	id := c.job()
	c.finish(id, pb.OutcomeKind_OUTCOME_WORKER_ERROR)
	c.hear(Liveness{Known: true, Connected: true})
	n := c.node("n1")
	n.every.offer = 50 * time.Millisecond
	x := follow(t.Context(), id, func() []*node { return []*node{n} })
	if err := <-x.done; err != nil || !strings.Contains(x.message().IncompleteWhy, "it is connected and does not send it") {
		t.Errorf("%v, %v", x.message(), err)
	}
}

// A worker that comes back delivers the log of an attempt that is over.
func TestLateLogIsSealed(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "before\n")
	eventually(t, "the leader has it", func() bool { return c.node("n1").stat(keyFor(id)).Size == 7 })
	w.stop()
	c.propose(&pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{Lease: id.Lease, Why: pb.OutcomeKind_OUTCOME_WORKER_LOST}}})
	write(t, l, "after\n")
	end(t, l)
	c.work(w.spool)
	c.sealed(id)
	c.node("n2").readComplete(fsm.JobID(id.Job), 1, "before\nafter\n")
}

func TestOffsets(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	write(t, l, "0123456789")
	read := func(offset int64) (string, *pb.LogData, error) {
		req := request(id)
		req.Offset = offset
		return c.node("n2").read(t.Context(), req)
	}
	eventually(t, "the leader has it", func() bool { return c.node("n1").stat(keyFor(id)).Size == 10 })
	check := func(state string) {
		for offset, want := range map[int64]string{0: "0123456789", 4: "456789", 10: "", -3: "789", -10: "0123456789", -99: "0123456789"} {
			if got, _, err := read(offset); err != nil || got != want {
				t.Errorf("%s, from %d: %q, %v", state, offset, got, err)
			}
		}
	}
	check("growing")
	end(t, l)
	c.sealed(id)
	check("sealed")
	if _, _, err := read(11); kind(err) != "invalid" {
		t.Errorf("beyond the end: %v", err)
	}
}

func TestJobsWithoutALog(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	_, id := w.log()
	n := c.node("n1")
	if _, _, err := n.read(t.Context(), &pb.ReadLogRequest{Job: 99}); kind(err) != "not_found" {
		t.Errorf("a job that never was: %v", err)
	}
	if _, _, err := n.read(t.Context(), &pb.ReadLogRequest{Job: id.Job, Attempt: 2}); kind(err) != "not_found" {
		t.Errorf("an attempt that never was: %v", err)
	}
	waiting := c.waiting()
	if _, last, err := n.read(t.Context(), &pb.ReadLogRequest{Job: waiting}); err != nil || !strings.Contains(last.GetIncompleteWhy(), "has not started") {
		t.Errorf("a waiting job: %v, %v", last, err)
	}
	x := follow(t.Context(), spool.ID{Job: waiting}, func() []*node { return []*node{c.node("n2")} })
	c.propose(&pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: waiting}}})
	if err := <-x.done; err != nil || !strings.Contains(x.message().GetIncompleteWhy(), "never ran") {
		t.Errorf("a cancelled job: %v, %v", x.message(), err)
	}
}

func TestFollowBeforeTheStart(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	waiting := c.waiting()
	x := follow(t.Context(), spool.ID{Job: waiting}, func() []*node { return []*node{c.node("n2")} })
	r := c.propose(&pb.Command{Op: &pb.Command_GrantLease{GrantLease: &pb.GrantLease{Job: waiting, Worker: "w"}}})
	l, err := w.spool.Create(spool.ID{Lease: uint64(r.Lease), Job: waiting, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, "begun\n")
	end(t, l)
	if err := <-x.done; err != nil || x.text() != "begun\n" || !x.message().Complete {
		t.Errorf("%q, %v, %v", x.text(), x.message(), err)
	}
}

func TestNoLeader(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	_, id := w.log()
	c.kill(c.node("n1"))
	begun := time.Now()
	_, _, err := c.node("n2").read(t.Context(), request(id))
	if kind(err) != "unavailable" || time.Since(begun) < patience {
		t.Errorf("without a leader, after %v: %v", time.Since(begun), err)
	}
}

func TestPassedOnReadGoesNoFurther(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	_, id := w.log()
	req := request(id)
	req.PassedOn = true
	if _, _, err := c.node("n2").read(t.Context(), req); kind(err) != "unavailable" {
		t.Errorf("passed on to a node that does not lead: %v", err)
	}
}

// A holder goes away in the middle of a read: another goes on at the next byte.
func TestReadFromTheHolderThatIsLeft(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	want := lines(200_000)
	write(t, l, want)
	end(t, l)
	log := c.sealed(id)
	n4, got := c.start("n4", t.TempDir()), ""
	err := n4.Read(t.Context(), request(id), func(d *pb.LogData) error {
		if got += string(d.Data); len(got) > 300_000 {
			if n := c.find(log.Holders[0]); n != nil {
				c.kill(n)
			}
		}
		return nil
	})
	if err != nil || got != want {
		t.Errorf("with %s gone: %d bytes of %d, %v", log.Holders[0], len(got), len(want), err)
	}
	n4.readComplete(fsm.JobID(id.Job), 1, want)
}

// A holder that hangs, with its connection alive, is passed over.
func TestReadPassesASilentHolderOver(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	l, id := w.log()
	want := lines(1000)
	write(t, l, want)
	end(t, l)
	log := c.sealed(id)
	n4 := c.start("n4", t.TempDir())
	c.find(log.Holders[0]).mute.Store(true)
	began := time.Now()
	n4.readComplete(fsm.JobID(id.Job), 1, want)
	if took := time.Since(began); took < pullStall || took > pullStall+2*time.Second {
		t.Errorf("it took %v with %s silent", took, log.Holders[0])
	}
}

// A node whose term has just ended does not say that a worker was not heard: it
// does not hear workers any more.
func TestTheEndOfATermIsNoSilence(t *testing.T) {
	c, w := start(t, "n1", "n2", "n3")
	_, id := w.log()
	c.propose(&pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{Lease: id.Lease, Why: pb.OutcomeKind_OUTCOME_WORKER_LOST}}})
	n := c.node("n1")
	term := n.current()
	term.since = time.Now().Add(-time.Hour)
	c.hear(Liveness{}) // as the leader's part says when it is over
	var said *pb.LogData
	r := &reader{Service: n.Service, job: fsm.JobID(id.Job), attempt: 1, out: func(d *pb.LogData) error { said = d; return nil }}
	a, ok := r.unsealed()
	if !ok {
		t.Fatal("the log is sealed")
	}
	if done, err := r.wait(term, "p", a); !done || err != nil || said.GetIncompleteWhy() == "" {
		t.Fatalf("in office it says %v, %v: this test proves nothing", said, err)
	}
	said = nil
	n.resign()
	if done, err := r.wait(term, "p", a); done || err != nil || said != nil {
		t.Errorf("out of office it says %v, %v", said, err)
	}
}
