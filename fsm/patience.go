package fsm

import (
	"fmt"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// WaitsUntil is when a waiting job gives up, in ms; 0: never. Each stretch of
// waiting counts by itself: since the submit, or since its last attempt ended.
func (j *Job) WaitsUntil() int64 {
	if j.WaitLimit == 0 || !j.Waiting() {
		return 0
	}
	since := j.Submitted
	if last := j.Last(); last != nil {
		since = last.Ended
	}
	return since + j.WaitLimit
}

// Due is when time alone changes the job, in ms; 0: never.
func (j *Job) Due() int64 {
	until := j.WaitsUntil()
	if j.NotBefore != 0 && (until == 0 || j.NotBefore < until) {
		return j.NotBefore
	}
	return until
}

// endWaits ends jobs that have waited for longer than they were to.
func (s *State) endWaits() {
	for range dueBatch {
		j, ok := s.patience.min()
		if !ok || j.WaitsUntil() > s.now {
			return
		}
		s.giveBack(j)
		s.settle(j, clone(j), impatient(j))
	}
}

func impatient(j *Job) *pb.Outcome {
	limit := time.Duration(j.WaitLimit) * time.Millisecond
	message := fmt.Sprintf("no worker took it within %v, its limit on waiting", limit)
	if last := j.Last(); last != nil {
		message += fmt.Sprintf("; attempt %d on worker %s ended as %s", last.No, last.Worker, OutcomeName(last.Outcome.GetKind()))
	}
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_TIMED_OUT, Message: clip(message, MaxReasonLen)}
}
