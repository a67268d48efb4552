package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newJob(e *env) *cobra.Command {
	c := &cobra.Command{Use: "job", Short: "Show, explain, cancel a job; run jobs again", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	e.addClientFlags(c)
	c.AddCommand(newJobShow(e), newJobExplain(e), newJobCancel(e), newJobRerun(e))
	return c
}

func newJobShow(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "show ID", Short: "Everything that is known of a job, with each attempt",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeJobs,
		RunE: e.onJob(func(c *cobra.Command, cl *client.Client, out ui.Printer, id uint64) error {
			j, err := cl.Jobs().GetJob(c.Context(), &pb.GetJobRequest{Id: id, Stale: e.stale})
			if err != nil {
				return err
			}
			return out.Print(j, func(t *ui.Table) { showJob(t, j) })
		}),
	}
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func newJobExplain(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "explain ID", Short: "Why a job waits, or where it runs",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeJobs,
		RunE: e.onJob(func(c *cobra.Command, cl *client.Client, out ui.Printer, id uint64) error {
			r, err := cl.Jobs().Explain(c.Context(), &pb.ExplainRequest{Id: id})
			if err != nil {
				return err
			}
			return out.Print(r, func(t *ui.Table) {
				if r.Job.State == pb.JobState_JOB_STATE_SETTLED {
					t.Line("job %d is over: %s; see `weir job show %d`", id, ui.Outcome(r.Job.Outcome), id)
					return
				}
				t.Line("job %d is %s: %s", id, ui.State(r.Job), r.Why)
				for _, d := range r.Details {
					t.Line("  %s", d)
				}
			})
		}),
	}
	e.addOutputFlag(c)
	return c
}

func newJobCancel(e *env) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a job, whatever its state",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeJobs,
		RunE: e.onJob(func(c *cobra.Command, cl *client.Client, out ui.Printer, id uint64) error {
			j, err := cl.Jobs().Cancel(c.Context(), &pb.CancelRequest{Id: id, Reason: reason})
			if err != nil {
				return err
			}
			return out.Print(j, func(t *ui.Table) { t.Line("job %d is %s", id, ui.State(j)) })
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "kept in the job's history")
	e.addOutputFlag(c)
	return c
}

// onJob is the shape of every command on one job.
func (e *env) onJob(f func(*cobra.Command, *client.Client, ui.Printer, uint64) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		id, err := parseJob(args[0])
		if err != nil {
			return err
		}
		out, err := e.printer()
		if err != nil {
			return err
		}
		return e.with(func(cl *client.Client) error { return f(c, cl, out, id) })
	}
}

func showJob(t *ui.Table, j *pb.Job) {
	t.Row("job", j.Id)
	t.Row("pool", j.Pool)
	t.Row("client", j.Client)
	t.Row("state", ui.State(j))
	t.Row("submitted", moment(j.SubmittedMs)+" ("+t.Ago(j.SubmittedMs)+" ago)")
	if j.SettledMs != 0 {
		t.Row("settled", moment(j.SettledMs))
	}
	if m := j.GetOutcome().GetMessage(); m != "" {
		t.Row("outcome", ui.Outcome(j.Outcome)+": "+ui.Clean(m))
	} else if j.Outcome != nil {
		t.Row("outcome", ui.Outcome(j.Outcome))
	}
	if out := j.GetOutcome().GetOutput(); out != "" {
		t.Row("output", ui.Clean(out))
	}
	showSpec(t, j.Spec)
	if len(j.Attempts) == 0 {
		return
	}
	t.Line("")
	t.Row("ATTEMPT", "WORKER", "STARTED", "TOOK", "OUTCOME", "LOG")
	for _, a := range j.Attempts {
		t.Row(a.Number, ui.Clip(a.Worker, 16), clock(a.StartedMs), t.Between(a.StartedMs, a.EndedMs), ui.Outcome(a.Outcome), logState(a))
	}
	for _, a := range j.Attempts {
		if m := a.GetOutcome().GetMessage(); m != "" {
			t.Line("attempt %d: %s", a.Number, ui.Clean(m))
		}
	}
}

func showSpec(t *ui.Table, s *pb.JobSpec) {
	if s == nil {
		return
	}
	showKind(t, s)
	if s.Git != nil {
		t.Row("repository", ui.Clip(s.Git.Url, 64))
		t.Row("commits", ui.Clip(strings.Join(s.Git.Commits, " "), 64))
	}
	if s.CacheHint != "" {
		t.Row("cache hint", ui.Clip(s.CacheHint, 64))
	}
	if s.Urgent {
		t.Row("urgent", "yes")
	}
	if s.Priority != 0 {
		t.Row("priority", fmt.Sprintf("%d among its client's jobs", s.Priority))
	}
	if k := s.Concurrency; k != nil {
		t.Row("concurrency", fmt.Sprintf("at most %d at once with key %s", k.Most, ui.Clip(k.Key, 40)))
	}
	if len(s.RetryExitCodes) > 0 {
		t.Row("tried again", fmt.Sprintf("after exit codes %v", s.RetryExitCodes))
	}
	if s.WaitLimitMs != 0 {
		t.Row("wait limit", ui.Short(time.Duration(s.WaitLimitMs)*time.Millisecond))
	}
	if s.TimeLimitMs != 0 {
		t.Row("time limit", ui.Short(time.Duration(s.TimeLimitMs)*time.Millisecond))
	}
}

// showKind tells what a job does.
func showKind(t *ui.Table, s *pb.JobSpec) {
	cmd := s.GetCommand()
	switch kind := s.Kind.(type) {
	case *pb.JobSpec_Sandbox:
		cmd = kind.Sandbox.Command
		t.Row("image", ui.Clip(kind.Sandbox.Image, 64))
	case *pb.JobSpec_Obuilder:
		first, _, _ := strings.Cut(kind.Obuilder.Spec, "\n")
		t.Row("obuilder", ui.Clip(first, 64))
	case *pb.JobSpec_Docker:
		if path := kind.Docker.GetPath(); path != "" {
			t.Row("dockerfile", ui.Clip(path, 64))
		} else {
			first, _, _ := strings.Cut(kind.Docker.GetContents(), "\n")
			t.Row("dockerfile", ui.Clip(first, 64))
		}
		if kind.Docker.Push != "" {
			t.Row("push", ui.Clip(kind.Docker.Push, 64))
		}
	case *pb.JobSpec_Custom:
		t.Row("kind", ui.Clean(kind.Custom.Kind))
	}
	if cmd == nil {
		return
	}
	t.Row("command", ui.Clip(strings.Join(cmd.Argv, " "), 64))
	if cmd.Dir != "" {
		t.Row("directory", ui.Clean(cmd.Dir))
	}
}

func logState(a *pb.Attempt) string {
	switch {
	case a.Log == nil && a.Outcome == nil:
		return "growing"
	case a.Log == nil:
		return "not complete: " + a.Worker + " has the rest"
	case a.Log.Expired:
		return "expired"
	}
	return ui.Size(a.Log.Bytes)
}

func moment(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05") }
func clock(ms int64) string  { return time.UnixMilli(ms).Format("15:04:05") }

func span(a *pb.Attempt) time.Duration {
	return time.Duration(max(a.EndedMs-a.StartedMs, 0)) * time.Millisecond
}
