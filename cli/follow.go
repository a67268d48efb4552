package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// cancelReason is kept in the job's history.
const cancelReason = "interrupted by the submitter"

// follow shows a job to its end; the first signal cancels it, the second
// leaves it.
func (e *env) follow(ctx context.Context, cl *client.Client, id uint64, disconnect bool, interrupts *interrupts) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	ended := make(chan struct{})
	cancelled := make(chan struct{})
	go func() { // ends when the job has been followed to its end
		defer close(cancelled)
		e.cancelOnSignal(ctx, cl, id, interrupts, ended, leave)
	}()
	shown := &progress{env: e, told: map[string]bool{}}
	job, err := cl.Follow(ctx, &pb.WatchRequest{Id: id, CancelOnDisconnect: disconnect}, shown)
	close(ended)
	<-cancelled
	if errors.Is(err, errInterrupted) {
		return &codedError{exitCancelled, fmt.Errorf("stopped following job %d; `weir job show %d` tells what became of it", id, id)}
	}
	if err != nil {
		return fmt.Errorf("follow job %d (it goes on; `weir logs -f %d` follows it again): %w", id, id, err)
	}
	shown.finish(job)
	return outcomeError(job.Outcome)
}

func (e *env) cancelOnSignal(ctx context.Context, cl *client.Client, id uint64, interrupts *interrupts, ended <-chan struct{}, leave context.CancelCauseFunc) {
	if !interrupts.next(ended) {
		return
	}
	e.say("cancelling job %d (once more to stop waiting for it)", id)
	ctx, stop := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() { // ends with the call, which stop ends
		defer close(asked)
		if _, err := cl.Jobs().Cancel(ctx, &pb.CancelRequest{Id: id, Reason: cancelReason}); err != nil && ctx.Err() == nil {
			e.say("cancel job %d: %s", id, message(err))
		}
	}()
	if interrupts.next(ended) {
		leave(errInterrupted)
	}
	stop()
	<-asked
}

// progress prints a job's life: the log to standard output, the rest to
// standard error, each line once.
type progress struct {
	env     *env
	told    map[string]bool // of the time since it last ran
	attempt uint32
	newline bool // the log's last byte was not a line's end
}

// Event implements client.Follower.
func (p *progress) Event(ev *pb.JobEvent) error {
	j := ev.Job
	line := ""
	switch j.State {
	case pb.JobState_JOB_STATE_QUEUED, pb.JobState_JOB_STATE_BACKOFF:
		line = fmt.Sprintf("job %d waits, %d before it: %s", j.Id, ev.Ahead, ev.Why)
	case pb.JobState_JOB_STATE_RUNNING:
		a := lastAttempt(j)
		line = fmt.Sprintf("job %d runs on %s", j.Id, a.GetWorker())
		if a.GetNumber() > 1 {
			line += fmt.Sprintf(" (attempt %d)", a.GetNumber())
		}
	}
	p.tellEnded(j)
	if line != "" && !p.told[line] { // a reason that comes and goes, as with leaders, is told once
		p.told[line] = true
		p.say("%s", line)
	}
	return nil
}

// tellEnded tells once of each attempt that ended without settling the job.
func (p *progress) tellEnded(j *pb.Job) {
	for _, a := range j.Attempts {
		if a.Outcome == nil || a.Number <= p.attempt {
			continue
		}
		p.attempt = a.Number
		clear(p.told)
		if j.State != pb.JobState_JOB_STATE_SETTLED {
			p.say("attempt %d on %s ended: %s", a.Number, a.Worker, ui.Clean(ui.Outcome(a.Outcome)+" "+a.Outcome.Message))
		}
	}
}

// Log implements client.Follower.
func (p *progress) Log(d *pb.LogData) error {
	if d.Note != "" {
		p.say("%s", d.Note)
	}
	if len(d.Data) > 0 {
		p.newline = d.Data[len(d.Data)-1] != '\n'
	}
	_, err := p.env.stdout.Write(d.Data)
	if d.IncompleteWhy != "" {
		p.say("the log of attempt %d is not complete: %s", d.Attempt, d.IncompleteWhy)
	}
	return err
}

func (p *progress) say(format string, args ...any) {
	if p.newline {
		p.newline = false
		fmt.Fprintln(p.env.stderr)
	}
	p.env.say(format, args...)
}

func (p *progress) finish(j *pb.Job) {
	text := fmt.Sprintf("job %d %s", j.Id, ui.Outcome(j.Outcome))
	if a := lastAttempt(j); a != nil {
		text += fmt.Sprintf(" on %s after %s", a.Worker, ui.Short(span(a)))
		if n := len(j.Attempts); n > 1 {
			text += fmt.Sprintf(", attempt %d", a.Number)
		}
	}
	if m := j.GetOutcome().GetMessage(); m != "" && j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		text += ": " + ui.Clean(m)
	}
	p.say("%s", text)
	if out := j.GetOutcome().GetOutput(); out != "" {
		p.say("output: %s", ui.Clean(out))
	}
}
