package lead

import (
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// A job that no worker takes within its limit on waiting ends by itself, also
// under the next leader; one that runs does not.
func TestALimitOnWaitingHolds(t *testing.T) {
	c := newCluster(t, quick)
	limited := func(ms int64) fsm.JobID {
		cmd := submit(&pb.JobSpec{}, "")
		cmd.GetSubmitJob().WaitLimitMs = ms
		return c.do(cmd).Job
	}
	c.awaitSettled(limited(100), pb.OutcomeKind_OUTCOME_TIMED_OUT)
	w := c.connect(hello("w", 1))
	runs := limited(60_000)
	g := w.awaitGrant()
	waits := limited(60_000)
	c.leaveOffice()
	<-c.over
	c.takeOffice()
	c.passTime(61 * time.Second)
	c.awaitSettled(waits, pb.OutcomeKind_OUTCOME_TIMED_OUT)
	if j := c.job(runs); j.State != pb.JobState_JOB_STATE_RUNNING || uint64(j.Lease) != g.Lease {
		t.Errorf("the job that runs is %s", fsm.StateName(j.State))
	}
}
