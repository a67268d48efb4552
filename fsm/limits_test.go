package fsm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

func withHint(hint string) func(*pb.SubmitJob) {
	return func(c *pb.SubmitJob) { c.CacheHint = hint }
}

// oneWorker is a state with a pool, a client and a worker of many slots.
func oneWorker(t testing.TB, config *pb.PoolConfig) *fsm.State {
	return fsmtest.State(t, fsmtest.CreatePool("linux", config), fsmtest.AddClient("alice", 0),
		fsmtest.RegisterWorker("linux", "w1", fsm.MaxSlots))
}

// TestHintsAreBounded fills a pool's hints: the least recently used go.
func TestHintsAreBounded(t *testing.T) {
	s := oneWorker(t, nil)
	build := func(at int, hint string) {
		c := fsmtest.Submit("alice", "linux", "", withHint(hint), func(c *pb.SubmitJob) { c.GrantTo = "w1" })
		r := fsmtest.Apply(t, s, fsmtest.At(int64(at), c))
		fsmtest.Apply(t, s, fsmtest.Finish(r.Lease, fsmtest.Holder("linux", "w1"), pb.OutcomeKind_OUTCOME_SUCCEEDED))
	}
	for n := range fsm.MaxHints {
		build(1+n, fmt.Sprintf("hint-%d", n))
	}
	build(fsm.MaxHints+1, "hint-0") // used again: hint-1 is the oldest now
	build(fsm.MaxHints+2, "new")
	p, _ := s.Pool("linux")
	if p.Hints != fsm.MaxHints {
		t.Errorf("the pool has %d hints", p.Hints)
	}
	for hint, want := range map[string]int{"hint-0": 1, "hint-1": 0, "hint-2": 1, "new": 1} {
		if got := len(slices.Collect(s.HintWorkers("linux", hint))); got != want {
			t.Errorf("%d workers have %s; want %d", got, hint, want)
		}
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	start := cpu()
	fsmtest.Apply(t, s, parse(t, "forget linux w1"))
	t.Logf("forgetting the worker takes %v", cpu()-start)
	if p, _ := s.Pool("linux"); p.Hints != 0 {
		t.Errorf("%d hints are left of a forgotten worker", p.Hints)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// TestAttemptsAreBounded revokes a worker again and again under one job: the
// newest attempts are kept, with their numbers, and the job is never given up.
func TestAttemptsAreBounded(t *testing.T) {
	s := oneWorker(t, &pb.PoolConfig{Attempts: 1})
	job := fsmtest.Apply(t, s, fsmtest.Submit("alice", "linux", "")).Job
	for n := range fsm.MaxAttempts + 5 {
		r := fsmtest.Apply(t, s, fsmtest.Grant(job, "w1"))
		if int(r.Attempt) != n+1 {
			t.Fatalf("attempt %d is numbered %d", n+1, r.Attempt)
		}
		fsmtest.Apply(t, s, fsmtest.Expire(r.Lease, pb.OutcomeKind_OUTCOME_WORKER_REVOKED, "revoked"))
	}
	j, err := s.Job(job)
	if err != nil || len(j.Attempts) != fsm.MaxAttempts || j.Attempts[0].No != 6 || j.State != pb.JobState_JOB_STATE_QUEUED {
		t.Errorf("after all: %v %v", j, err)
	}
	if _, _, ok := s.Attempt(1); ok {
		t.Error("the lease of an attempt that was dropped is still known")
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// TestCapabilitiesAreBounded makes room by dropping revoked ones, the oldest first.
func TestCapabilitiesAreBounded(t *testing.T) {
	s := fsm.New()
	create := func(n int) fsm.Result {
		return s.Apply(&pb.Command{Op: &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{
			Capability:  &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ},
			TokenSha256: fsmtest.Sum(fmt.Sprint("token", n)),
		}}})
	}
	for n := range fsm.MaxCapability {
		if r := create(n); r.Refusal != nil {
			t.Fatal(r.Refusal)
		}
	}
	if r := create(fsm.MaxCapability); r.Refusal == nil || r.Refusal.Kind != fsm.Full {
		t.Errorf("one too many: %v", r)
	}
	fsmtest.Apply(t, s, fsmtest.At(10, parse(t, "revoke cap-7")))
	fsmtest.Apply(t, s, fsmtest.At(20, parse(t, "revoke cap-3")))
	if r := create(fsm.MaxCapability); r.Refusal != nil {
		t.Errorf("after a revocation: %v", r.Refusal)
	}
	if _, ok := s.CapabilityByHash(fsmtest.Sum("token6")); ok {
		t.Error("cap-7 should have made room")
	}
	if c, ok := s.Capability("cap-3"); !ok || c.Revoked != 20 {
		t.Error("cap-3 should be known as revoked")
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func parse(t testing.TB, line string) *pb.Command {
	t.Helper()
	c, err := fsmtest.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTimeIsBoundedWork lets many back-offs end, and many keys expire, at once: a
// command does a bounded share of them, and says where it stopped.
func TestTimeIsBoundedWork(t *testing.T) {
	const jobs = 2500
	s := oneWorker(t, &pb.PoolConfig{BackoffMs: 1000})
	for n := range jobs {
		c := fsmtest.Submit("alice", "linux", fmt.Sprint("key", n), func(c *pb.SubmitJob) { c.GrantTo = "w1" })
		r := fsmtest.Apply(t, s, fsmtest.At(1, c))
		fsmtest.Apply(t, s, fsmtest.Expire(r.Lease, pb.OutcomeKind_OUTCOME_WORKER_LOST, "lost"))
	}
	returned := 0
	for _, want := range []int{1000, 1000, 500, 0} {
		r := s.Apply(fsmtest.At(1001, fsmtest.Tick()))
		if len(r.Events) != want {
			t.Errorf("%d jobs return; want %d", len(r.Events), want)
		}
		returned += len(r.Events)
		if more := returned < jobs; (s.Due() != 0) != more {
			t.Errorf("after %d jobs the next is due at %d", returned, s.Due())
		}
	}
	later := int64(1001 + fsm.KeyWindow)
	for range 3 {
		s.Apply(fsmtest.At(later, fsmtest.Tick()))
	}
	again := fsmtest.Submit("alice", "linux", "key1", func(c *pb.SubmitJob) { c.Key.CreatedMs = later })
	if r := fsmtest.Apply(t, s, fsmtest.At(later, again)); r.Repeat {
		t.Error("a key is remembered after its hour")
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// TestTrimOverTheHardCap lets young jobs go when there are far too many.
func TestTrimOverTheHardCap(t *testing.T) {
	s := oneWorker(t, &pb.PoolConfig{KeepJobs: 1, MaxQueued: fsm.MaxQueued})
	for range fsm.HardKeepMargin + 3 {
		job := fsmtest.Apply(t, s, fsmtest.At(1000, fsmtest.Submit("alice", "linux", ""))).Job
		fsmtest.Apply(t, s, fsmtest.Cancel(job, ""))
	}
	ids := s.Trimmable(s.Now(), "linux", 100)
	if !slices.Equal(ids, []fsm.JobID{1, 2}) {
		t.Errorf("trimmable within ten minutes: %d", ids)
	}
	r := fsmtest.Apply(t, s, fsmtest.Trim(1, 2, 3, 4))
	if len(r.Events) != 2 {
		t.Errorf("%d jobs are trimmed", len(r.Events))
	}
	if n := len(s.Trimmable(s.Now()+fsm.MinKeep, "linux", 1000)); n != 1000 {
		t.Errorf("trimmable after ten minutes: %d", n)
	}
}

// TestTextIsClipped keeps what a worker reports within the limits, and valid.
func TestTextIsClipped(t *testing.T) {
	s := oneWorker(t, nil)
	r := fsmtest.Apply(t, s, fsmtest.Submit("alice", "linux", "", func(c *pb.SubmitJob) { c.GrantTo = "w1" }))
	c := fsmtest.Finish(r.Lease, fsmtest.Holder("linux", "w1"), pb.OutcomeKind_OUTCOME_FAILED)
	c.GetFinishAttempt().GetOutcome().Message = strings.Repeat("ü", 2000)
	c.GetFinishAttempt().GetOutcome().Output = strings.Repeat("x", fsm.MaxOutputLen)
	out := fsmtest.Apply(t, s, c).Outcome
	if n := len(out.GetMessage()); n > fsm.MaxReasonLen || n < fsm.MaxReasonLen-4 || !strings.HasSuffix(out.GetMessage(), "ü...") {
		t.Errorf("message of %d bytes: ...%q", n, out.GetMessage()[n-6:])
	}
	if len(out.GetOutput()) != fsm.MaxOutputLen {
		t.Errorf("output of %d bytes", len(out.GetOutput()))
	}
}

// TestNamesAreBounded makes pools, clients and workers up to their limits.
func TestNamesAreBounded(t *testing.T) {
	s := fsmtest.State(t, fsmtest.CreatePool("n0", nil))
	for what, c := range map[string]struct {
		most int
		make func(name string) *pb.Command
	}{
		"pools":   {fsm.MaxPools - 1, func(name string) *pb.Command { return fsmtest.CreatePool(name, nil) }},
		"clients": {fsm.MaxClients, func(name string) *pb.Command { return fsmtest.AddClient(name, 1) }},
		"workers": {fsm.MaxWorkers, func(name string) *pb.Command { return fsmtest.RegisterWorker("n0", name, 1) }},
	} {
		for n := range c.most {
			fsmtest.Apply(t, s, c.make(fmt.Sprintf("n%d", n+1)))
		}
		if r := s.Apply(c.make("more")); r.Refusal == nil || r.Refusal.Kind != fsm.Full {
			t.Errorf("one too many %s: %v", what, r)
		}
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// TestGrammar gives examples of what is a name, a label, a hint, and what is not.
func TestGrammar(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		check func(string) error
		good  []string
		bad   []string
	}{
		{
			func(s string) error { return fsm.ValidateName("pool", s) },
			[]string{"a", "linux-x86_64", "Debian.12", long[:63]},
			[]string{"", "-a", "a-", ".", "a/b", "a b", "ü", "a\n", long},
		},
		{
			func(s string) error { return fsm.ValidateLabel(s, "") },
			[]string{"os", "example.org/gpu"},
			[]string{"", "/os", "os=linux"},
		},
		{
			func(s string) error { return fsm.ValidateLabel("os", s) },
			[]string{"", "linux", "6.1.0+deb12", "a=b@c:/d", long},
			[]string{"a b", "ü", long + "x"},
		},
		{fsm.ValidateHint, []string{"", "größe, with spaces", strings.Repeat("x", 256)}, []string{"a\tb", "\xff", strings.Repeat("x", 257)}},
		{fsm.ValidateRequestKey, []string{"k", "ci/123#4"}, []string{"", "a b", "ü", strings.Repeat("x", 129)}},
		{fsm.ValidateNote, []string{"", "rack 7, Zürich"}, []string{"a\nb", strings.Repeat("x", 201)}},
	} {
		for _, s := range c.good {
			if err := c.check(s); err != nil {
				t.Errorf("%q is refused: %v", s, err)
			}
		}
		for _, s := range c.bad {
			if c.check(s) == nil {
				t.Errorf("%q is accepted", s)
			}
		}
	}
}
