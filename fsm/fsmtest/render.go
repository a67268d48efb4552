package fsmtest

import (
	"fmt"
	"strings"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Render shows a result in lines: the answer, then an event each.
func Render(r fsm.Result) string {
	var b strings.Builder
	b.WriteString(answer(r))
	b.WriteByte('\n')
	for _, e := range r.Events {
		fmt.Fprintf(&b, "  %s\n", RenderEvent(e))
	}
	return b.String()
}

func answer(r fsm.Result) string {
	var f fields
	if r.Refusal != nil {
		f.word("refused %s: %s", r.Refusal.Kind, r.Refusal.Message)
	} else {
		f.word("ok")
	}
	f.number("job", uint64(r.Job))
	f.number("lease", uint64(r.Lease))
	f.number("attempt", uint64(r.Attempt))
	f.text("worker", r.Worker)
	f.text("id", r.ID)
	if r.Outcome != nil {
		f.text("outcome", RenderOutcome(r.Outcome))
	}
	f.flag("recorded", r.Recorded)
	f.flag("repeat", r.Repeat)
	return f.String()
}

// RenderEvent shows an event in one line.
func RenderEvent(e fsm.Event) string {
	var f fields
	f.word("%s", e.Kind)
	f.number("job", uint64(e.Job))
	f.number("attempt", uint64(e.Attempt))
	f.number("lease", uint64(e.Lease))
	f.text("pool", e.Pool)
	f.text("worker", e.Worker)
	f.text("client", e.Client)
	f.text("capability", e.Capability)
	if e.Outcome != pb.OutcomeKind_OUTCOME_UNSPECIFIED {
		f.text("outcome", fsm.OutcomeName(e.Outcome))
	}
	f.text("message", e.Message)
	return f.String()
}

// RenderOutcome shows an outcome: its name, then what it has.
func RenderOutcome(o *pb.Outcome) string {
	var f fields
	f.word("%s", fsm.OutcomeName(o.GetKind()))
	f.number("exit", uint64(o.GetExitCode()))
	f.text("signal", o.GetSignal())
	f.text("message", o.GetMessage())
	f.text("output", o.GetOutput())
	return f.String()
}

// RenderJob shows a job in one line, and a line for each attempt.
func RenderJob(j *fsm.Job) string {
	var f fields
	f.word("job %d %s", j.ID, fsm.StateName(j.State))
	f.text("pool", j.Pool)
	f.text("client", j.Client)
	f.text("key", j.RequestKey)
	f.text("hint", j.Hint)
	f.flag("urgent", j.Urgent)
	f.number("slots", uint64(j.Slots))
	f.text("sealed", string(j.Sealed))
	for _, l := range j.Labels {
		f.text("label", l.Name+"="+l.Value)
	}
	f.word("submitted=%d fair=%d charge=%d", j.Submitted, j.FairStart, j.Charge)
	f.text("concurrency", j.Concurrency)
	f.number("most", uint64(j.AtMost))
	f.number("priority", uint64(j.Priority))
	f.number("wait-limit", uint64(j.WaitLimit))
	f.number("not-before", uint64(j.NotBefore))
	f.number("lease", uint64(j.Lease))
	f.number("failures", uint64(j.Failures))
	if j.Cancel != nil {
		f.word("cancel=%q", j.Cancel.Reason)
	}
	if j.Outcome != nil {
		f.word("settled=%d", j.Settled)
		f.text("outcome", RenderOutcome(j.Outcome))
	}
	var b strings.Builder
	b.WriteString(f.String())
	for i := range j.Attempts {
		fmt.Fprintf(&b, "\n  %s", renderAttempt(&j.Attempts[i]))
	}
	return b.String()
}

func renderAttempt(a *fsm.Attempt) string {
	var f fields
	f.word("attempt %d lease=%d worker=%s started=%d", a.No, a.Lease, a.Worker, a.Started)
	f.flag("cached", a.Cached)
	f.number("leash", uint64(a.Leash))
	f.flag("held", a.Held)
	if a.Outcome != nil {
		f.word("ended=%d", a.Ended)
		f.text("outcome", RenderOutcome(a.Outcome))
	}
	if a.Log != nil {
		f.word("log=%d holders=%s", a.Log.GetBytes(), strings.Join(a.Log.GetHolders(), ","))
		f.flag("expired", a.Log.GetExpired())
	}
	return f.String()
}

// fields are words of a line; what is empty or zero is left out.
type fields []string

func (f *fields) word(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f *fields) text(name, value string) {
	if strings.ContainsAny(value, " \"") {
		f.word("%s=%q", name, value)
	} else if value != "" {
		f.word("%s=%s", name, value)
	}
}

func (f *fields) number(name string, value uint64) {
	if value != 0 {
		f.word("%s=%d", name, value)
	}
}

func (f *fields) flag(name string, set bool) {
	if set {
		f.word("%s", name)
	}
}

func (f fields) String() string { return strings.Join(f, " ") }
