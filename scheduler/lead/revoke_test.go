package lead

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// capability makes a worker capability and returns its id.
func (c *cluster) capability(secret string) string {
	c.t.Helper()
	sum := sha256.Sum256([]byte(secret))
	return c.do(&pb.Command{Op: &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{
		Capability:  &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"p"}},
		TokenSha256: sum[:],
	}}}).ID
}

func (c *cluster) revoke(id string) {
	c.t.Helper()
	c.do(&pb.Command{Op: &pb.Command_RevokeCapability{RevokeCapability: &pb.RevokeCapability{Id: id}}})
}

// awaitRequeued waits until the job's first attempt has been taken back, and checks
// that it counts as no failure.
func (c *cluster) awaitRequeued(id fsm.JobID) {
	c.t.Helper()
	c.awaitState(id, pb.JobState_JOB_STATE_QUEUED)
	j := c.job(id)
	if j.Failures != 0 || j.Attempts[0].Outcome.GetKind() != pb.OutcomeKind_OUTCOME_WORKER_REVOKED {
		c.t.Errorf("job: %+v", j)
	}
}

// A revoked capability ends its sessions and leases at once; no attempt counts as
// failed, and the builds are stopped.
func TestRevocation(t *testing.T) {
	c := newCluster(t, quick)
	id := c.capability("one")
	revoked := c.connectBy(hello("revoked", 1), Caller{CapabilityID: id})
	other := c.connectBy(hello("other", 1), Caller{CapabilityID: c.capability("another")})
	first, second := c.submit(&pb.JobSpec{}), c.submit(&pb.JobSpec{})
	g := revoked.awaitGrant()
	kept := other.awaitGrant()
	if g.Job+kept.Job != uint64(first+second) {
		t.Fatalf("grants: %v, %v", g, kept)
	}
	c.revoke(id)
	c.leader.CapabilityRevoked(id) // the event of it has the same effect; twice is once
	if err := revoked.awaitEnd(); !is(err, reason.Unauthenticated) {
		t.Errorf("the session ended: %v", err)
	}
	if s := revoked.awaitStop(); s.Lease != g.Lease || s.Reason != pb.StopReason_STOP_FENCED {
		t.Errorf("stop: %v", s)
	}
	c.awaitRequeued(fsm.JobID(g.Job))
	other.finish(kept.Lease, pb.OutcomeKind_OUTCOME_SUCCEEDED)
	if next := other.awaitGrant(); next.Job != g.Job || next.Attempt != 2 {
		t.Errorf("grant: %v", next)
	}
}

// patient is a configuration in which silence has no consequence while a test runs.
var patient = Config{LeaseTTL: time.Hour, Election: 20 * time.Millisecond, ReconnectMax: 100 * time.Millisecond}

// A leader that has not met a worker takes its leases back when the capability
// that it came with is revoked.
func TestRevocationOfWorkerNotMet(t *testing.T) {
	c := newCluster(t, patient)
	id := c.capability("one")
	w := c.connectBy(hello("w", 1), Caller{CapabilityID: id})
	job := c.submit(&pb.JobSpec{})
	w.awaitGrant()
	c.leaveOffice()
	c.takeOffice()
	c.round()
	if got := c.job(job).State; got != pb.JobState_JOB_STATE_RUNNING {
		t.Fatalf("the job is %v after the election", got)
	}
	c.revoke(id)
	c.awaitRequeued(job)
}

// A capability that was revoked while nobody led has the same end: the next leader
// takes the leases back, and the worker is not let in.
func TestRevocationBeforeElection(t *testing.T) {
	c := newCluster(t, patient)
	id := c.capability("one")
	w := c.connectBy(hello("w", 1), Caller{CapabilityID: id})
	job := c.submit(&pb.JobSpec{})
	g := w.awaitGrant()
	c.leaveOffice()
	c.revoke(id)
	c.takeOffice()
	c.awaitRequeued(job)

	h := hello("w", 1)
	h.HighestLease, h.Running = g.Lease, []*pb.RunningAttempt{{Lease: g.Lease}}
	if err := c.dial(h, Caller{CapabilityID: id}).awaitEnd(); !is(err, reason.Unauthenticated) {
		t.Errorf("the worker came again with its revoked capability: %v", err)
	}
	w = c.connectBy(h, Caller{CapabilityID: c.capability("two")})
	if s := w.awaitStop(); s.Lease != g.Lease || s.Reason != pb.StopReason_STOP_FENCED {
		t.Errorf("stop: %v", s)
	}
	if next := w.awaitGrant(); next.Job != uint64(job) || next.Attempt != 2 {
		t.Errorf("grant: %v", next)
	}
	c.leader.CapabilityRevoked(id) // again: the worker has another one now
	w.idle()
}
