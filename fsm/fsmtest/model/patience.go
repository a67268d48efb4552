package model

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func givesUp(j *fsm.Job) int64 {
	since := j.Submitted
	if len(j.Attempts) > 0 {
		since = j.Last().Ended
	}
	return since + j.WaitLimit
}

func (m *Model) impatient() []*fsm.Job {
	jobs := m.those(func(j *fsm.Job) bool { return j.WaitLimit > 0 && (j.State == queued || j.State == backoff) })
	slices.SortStableFunc(jobs, func(a, b *fsm.Job) int { return cmp.Compare(givesUp(a), givesUp(b)) })
	return jobs
}

func (m *Model) endWaits() {
	for _, j := range m.impatient() {
		if givesUp(j) > m.now {
			return
		}
		message := fmt.Sprintf("no worker took it within %v, its limit on waiting", time.Duration(j.WaitLimit)*time.Millisecond)
		if a := j.Last(); a != nil {
			message += fmt.Sprintf("; attempt %d on worker %s ended as %s", a.No, a.Worker, fsm.OutcomeName(a.Outcome.GetKind()))
		}
		m.giveBack(j)
		m.settle(j, &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_TIMED_OUT, Message: message})
	}
}

func (m *Model) giveBack(j *fsm.Job) {
	if len(j.Attempts) == 0 && m.limits(j.Pool).Learn {
		share := [2]string{j.Pool, j.Client}
		m.next[share] = max(m.next[share]-j.Charge, 0)
	}
}
