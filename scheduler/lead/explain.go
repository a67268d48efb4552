package lead

import (
	"fmt"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// explain says why a job waits, or where it runs.
func (t *term) explain(id fsm.JobID) (ahead int, why string, details []string, err error) {
	var j *fsm.Job
	var attempts uint32
	t.store.View(func(s *fsm.State) {
		if j, err = s.Job(id); err != nil {
			return
		}
		ahead = s.Ahead(j)
		if p, ok := s.Pool(j.Pool); ok {
			attempts = p.Limits().Attempts
		}
	})
	if err != nil {
		return 0, "", nil, err
	}
	switch j.State {
	case pb.JobState_JOB_STATE_QUEUED:
		why, details = t.explainQueued(j, ahead)
		if last := j.Last(); last != nil {
			details = append(details, "before, "+attemptEnd(last))
		}
	case pb.JobState_JOB_STATE_BACKOFF:
		wait := time.Duration(max(j.NotBefore-t.store.Now(), 0)) * time.Millisecond
		why = fmt.Sprintf("in back-off for another %v, then attempt %d of %d: %s",
			wait.Round(100*time.Millisecond), j.Failures+1, attempts, attemptEnd(j.Last()))
	case pb.JobState_JOB_STATE_RUNNING:
		why, details = t.explainRunning(j)
	default:
		why = "it is over: " + fsm.OutcomeName(j.Outcome.GetKind())
	}
	return ahead, why, details, nil
}

func (t *term) explainQueued(j *fsm.Job, ahead int) (why string, details []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pools[j.Pool]
	if !ok {
		return "its pool is about to be planned", nil
	}
	if p.pause != nil {
		return "its pool " + p.pause.Words(), nil
	}
	r := p.plan.Explain(j.ID, ahead)
	return r.Why, append(r.Details, t.keyHolders(j)...)
}

func (t *term) explainRunning(j *fsm.Job) (why string, details []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	why = fmt.Sprintf("attempt %d runs on worker %s", j.Last().No, j.Worker())
	if j.Cancel != nil {
		details = append(details, "its worker has been asked to stop it: "+j.Cancel.Reason)
	}
	p, ok := t.pools[j.Pool]
	if !ok {
		return why, details
	}
	m, ok := p.roster.members[j.Worker()]
	if !ok || m.session != nil && !m.session.silent.Load() {
		return why, details
	}
	return why, append(details, p.roster.explain(m, t.elapsed()))
}

// attemptEnd says how an attempt ended, in half a sentence.
func attemptEnd(a *fsm.Attempt) string {
	text := fmt.Sprintf("attempt %d on worker %s ended as %s", a.No, a.Worker, fsm.OutcomeName(a.Outcome.GetKind()))
	if m := a.Outcome.GetMessage(); m != "" {
		text += " (" + m + ")"
	}
	return text
}
