package fsm_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

func by(who string, c *pb.Command) *pb.Command {
	c.Actor = &pb.Actor{Capability: who, From: "192.0.2.7:4711"}
	return c
}

func raised(s *fsm.State) *fsm.State {
	s.Apply(&pb.Command{Op: &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: 4}}})
	return s
}

func audited(s *fsm.State) (lines []string) {
	for c := range s.Changes(0) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%d %s %s by %s %s %s", c.Number, c.Action, c.Target, c.Who, c.KnownAs, c.Detail)))
	}
	return lines
}

// The audit has every change with who made it, and nothing that was refused,
// repeated, or done by the leader or by a client for itself.
func TestAudit(t *testing.T) {
	s := fsm.New()
	must := func(c *pb.Command) fsm.Result {
		t.Helper()
		r := s.Apply(fsmtest.At(1000, c))
		if r.Refusal != nil {
			t.Fatal(r.Refusal)
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		return r
	}
	capability := func(c *pb.Capability) *pb.Command {
		return &pb.Command{Op: &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{Capability: c, TokenSha256: fsmtest.Sum(c.Note)}}}
	}
	must(by("node:n1", fsmtest.CreatePool("early", nil)))
	if got := audited(s); len(got) > 0 {
		t.Fatalf("below level 4: %q", got)
	}
	raised(s)
	must(by("node:n1", capability(&pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_ADMIN, Note: "alice"})))
	must(by("cap-1", fsmtest.CreatePool("linux", &pb.PoolConfig{Attempts: 2})))
	must(by("cap-1", &pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: "linux", Config: &pb.PoolConfig{MaxQueued: 9, Learn: pb.Switch_SWITCH_OFF}}}}))
	must(by("cap-1", fsmtest.AddClient("ci", 2)))
	must(by("cap-1", capability(&pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "ci", Note: "for ci"})))
	own := must(by("cap-2", fsmtest.Submit("ci", "linux", "k1")))
	other := must(by("cap-1", fsmtest.Submit("ci", "linux", "k2")))
	must(by("cap-1", fsmtest.Submit("ci", "linux", "k2"))) // a repeat
	cancel := func(id fsm.JobID) *pb.Command {
		return &pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(id), Reason: "no use"}}}
	}
	must(by("cap-2", cancel(own.Job)))
	must(by("cap-1", cancel(other.Job)))
	must(fsmtest.RegisterWorker("linux", "w1", 2))
	pause := &pb.Command{Op: &pb.Command_PauseWorkers{PauseWorkers: &pb.PauseWorkers{Pool: "linux", Names: []string{"w1"}, Reason: "new disk"}}}
	must(by("cap-1", proto.CloneOf(pause)))
	must(by("cap-1", proto.CloneOf(pause))) // it is paused already
	s.Apply(by("cap-1", fsmtest.CreatePool("linux", nil)))
	must(by("cap-1", &pb.Command{Op: &pb.Command_RecordChange{RecordChange: &pb.RecordChange{Action: "member.remove", Target: "n3"}}}))
	want := []string{
		"1 capability.create cap-1 by node:n1  kind=admin note=alice",
		"2 pool.create linux by cap-1 alice attempts=2",
		"3 pool.set linux by cap-1 alice attempts=default (was 2) max_queued=9 learn=SWITCH_OFF",
		"4 client.add ci by cap-1 alice rate=2",
		"5 capability.create cap-2 by cap-1 alice kind=submit client=ci note=for ci",
		"6 job.submit 2 by cap-1 alice client=ci",
		"7 job.cancel 2 by cap-1 alice client=ci no use",
		"8 worker.pause w1 by cap-1 alice new disk",
		"9 member.remove n3 by cap-1 alice",
	}
	if got := audited(s); !slices.Equal(got, want) {
		t.Errorf("the audit is\n%s\nand should be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var snapshot bytes.Buffer
	if _, err := s.WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	for _, digest := range [][]byte{fsmtest.Sum("alice"), fsmtest.Sum("for ci")} {
		for c := range s.Changes(0) {
			if data, _ := proto.Marshal(c); bytes.Contains(data, digest) {
				t.Errorf("change %d holds the hash of a secret", c.Number)
			}
		}
	}
	again := fsm.New()
	if err := again.Restore(&snapshot); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(audited(again), want) || again.Hash() != s.Hash() {
		t.Errorf("after a restore the audit is %q", audited(again))
	}
}

// The audit is bounded: the oldest go, and it says up to where.
func TestAuditIsBounded(t *testing.T) {
	s := raised(fsm.New())
	for range fsm.MaxChanges + 5 {
		s.Apply(by("cap-1", &pb.Command{Op: &pb.Command_RecordChange{RecordChange: &pb.RecordChange{Action: "test", Detail: strings.Repeat("x", 4000)}}}))
	}
	n := 0
	for c := range s.Changes(0) {
		if n == 0 && c.Number != 6 {
			t.Errorf("the oldest is %d, want 6", c.Number)
		}
		if len(c.Detail) > fsm.MaxChangeText {
			t.Fatalf("a text of %d bytes", len(c.Detail))
		}
		n++
	}
	if n != fsm.MaxChanges || s.ForgottenChanges() != 5 {
		t.Errorf("%d changes, %d forgotten; want %d and 5", n, s.ForgottenChanges(), fsm.MaxChanges)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	var snapshot bytes.Buffer
	if _, err := s.WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	all := records(t, snapshot.Bytes())
	for what, damaged := range map[string][]*pb.SnapshotRecord{
		"one repeated": append(slices.Clone(all[:len(all)-1]), all[len(all)-2]),
		"two swapped":  append(slices.Clone(all[:len(all)-2]), all[len(all)-1], all[len(all)-2]),
	} {
		if err := fsm.New().Restore(bytes.NewReader(assemble(t, damaged))); err == nil {
			t.Errorf("%s: it was restored", what)
		}
	}
}

// A pause may wait for a worker that has never come: whichever comes first under
// the name is paused, and only that.
func TestPauseBeforeTheFirstConnect(t *testing.T) {
	s := raised(fsm.New())
	s.Apply(fsmtest.CreatePool("linux", nil))
	pause := func(create bool) fsm.Result {
		return s.Apply(&pb.Command{MinLevel: 4, Op: &pb.Command_PauseWorkers{PauseWorkers: &pb.PauseWorkers{
			Pool: "linux", Names: []string{"w1"}, Reason: "not yet", Create: create,
		}}})
	}
	if r := pause(false); r.Refusal == nil || r.Refusal.Kind != fsm.NotFound {
		t.Fatalf("without create: %v", r.Refusal)
	}
	if r := pause(true); r.Refusal != nil || r.Repeat {
		t.Fatalf("with create: %+v", r)
	}
	if r := pause(true); r.Refusal != nil || !r.Repeat {
		t.Fatalf("again: %+v", r)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	var snapshot bytes.Buffer
	if _, err := s.WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(&snapshot); err != nil {
		t.Fatal(err)
	}
	if r := s.Apply(fsmtest.RegisterWorker("linux", "w1", 8)); r.Refusal != nil {
		t.Fatal(r.Refusal)
	}
	w, _ := s.Worker("linux", "w1")
	if w.Slots != 8 || w.Pause == nil || w.Pause.Reason != "not yet" {
		t.Errorf("the worker that came: %+v", w)
	}
	stranger := fsmtest.RegisterWorker("linux", "w1", 8)
	stranger.GetRegisterWorker().KeySha256 = fsmtest.Sum("another key")
	if r := s.Apply(stranger); r.Refusal == nil || r.Refusal.Kind != fsm.Conflict {
		t.Errorf("another machine under the name: %v", r.Refusal)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// What is told is among the events, and changes nothing.
func TestTell(t *testing.T) {
	s := raised(fsm.New())
	before := s.Hash()
	r := s.Apply(&pb.Command{MinLevel: 4, Op: &pb.Command_Tell{Tell: &pb.Tell{Happenings: []*pb.Happening{
		{Kind: pb.HappeningKind_HAPPENING_LEADER_CHANGED, Message: "n2"},
		{Kind: pb.HappeningKind_HAPPENING_WORKER_CONNECTED, Pool: "linux", Worker: "w1"},
		{Kind: 99},
	}}}})
	if len(r.Events) != 2 || r.Events[0].Kind != fsm.LeaderChanged || r.Events[1].Worker != "w1" || s.Hash() != before {
		t.Errorf("%+v", r)
	}
}
