package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// rerunOptions say which jobs are submitted again.
type rerunOptions struct {
	failed    bool
	machinery bool
	exitCodes []int
	name      string // of this run
	filter    jobsOptions
}

func newJobRerun(e *env) *cobra.Command {
	o := rerunOptions{filter: jobsOptions{state: "failed", limit: 1000}}
	c := &cobra.Command{
		Use: "rerun ID... | rerun --failed --since 1h", Short: "Submit jobs again that are over",
		Long: "Submit jobs again that are over, with the same description, pool and client: those that are named, or those\n" +
			"that failed, timed out or were lost. Each line says which job became which. Jobs that had secrets need them\n" +
			"again: they are listed as skipped.\n\n" +
			"A run that was interrupted may be repeated: what --failed has submitted again within the hour, it does not submit\n" +
			"once more, and says which job it was. To do so all the same, or to have it of jobs that are named, give the run a\n" +
			"name of your choice with --run.",
		Example: "  weir job rerun 4711\n  weir job rerun --failed --since 1h --pool linux\n  weir job rerun --failed --since 1h --infrastructure --exit-code 137",
		RunE:    func(c *cobra.Command, args []string) error { return o.run(c.Context(), e, args) },
	}
	f := c.Flags()
	f.BoolVar(&o.failed, "failed", false, "those that neither succeeded nor were cancelled; needs --since")
	f.DurationVar(&o.filter.since, "since", 0, "with --failed: submitted within so long, such as 1h")
	f.BoolVar(&o.machinery, "infrastructure", false, "with --failed: only where no attempt brought a result, and not where the build itself failed")
	f.IntSliceVar(&o.exitCodes, "exit-code", nil, "with --failed: only builds that failed with one of these; beside --infrastructure, those too")
	f.StringVar(&o.filter.pool, "pool", "", "with --failed: only of this pool")
	f.StringVar(&o.filter.client, "client", "", "with --failed: only of this client")
	f.StringVar(&o.name, "run", "", "name of this run: within an hour, a repeat of the run submits no job twice")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	return c
}

func (o *rerunOptions) run(ctx context.Context, e *env, args []string) error {
	switch {
	case o.failed == (len(args) > 0):
		return usageError("name jobs, or give --failed --since DURATION")
	case o.failed && o.filter.since <= 0:
		return usageError("--failed needs --since, such as --since 1h")
	}
	var ids []uint64
	for _, text := range args {
		id, err := parseJob(text)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	return e.with(func(cl *client.Client) error {
		if o.failed {
			var err error
			if ids, err = o.find(ctx, e, cl); err != nil {
				return err
			}
		}
		return o.rerun(ctx, e, cl, ids)
	})
}

// find lists the jobs that failed as asked for, the oldest first.
func (o *rerunOptions) find(ctx context.Context, e *env, cl *client.Client) (ids []uint64, err error) {
	req, err := o.filter.request(e)
	if err != nil {
		return nil, err
	}
	for {
		list, err := cl.Jobs().ListJobs(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, j := range list.Jobs {
			if o.wants(j.Outcome) {
				ids = append(ids, j.Id)
			}
		}
		if req.Before = list.NextBefore; req.Before == 0 {
			slices.Reverse(ids)
			return ids, nil
		}
	}
}

func (o *rerunOptions) wants(out *pb.Outcome) bool {
	switch {
	case !o.machinery && len(o.exitCodes) == 0:
		return true
	case out.GetKind() == pb.OutcomeKind_OUTCOME_LOST, out.GetKind() == pb.OutcomeKind_OUTCOME_WORKER_ERROR:
		return o.machinery
	}
	return out.GetKind() == pb.OutcomeKind_OUTCOME_FAILED && out.Signal == "" && slices.Contains(o.exitCodes, int(out.ExitCode))
}

// key is the request key of a job's submit in this run; nil: every run makes another
// job.
func (o *rerunOptions) key(e *env, j *pb.Job) *pb.RequestKey {
	if !o.failed && o.name == "" {
		return nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", j.Id, j.SettledMs, o.name))
	return &pb.RequestKey{Id: fmt.Sprintf("rerun-%d-%x", j.Id, sum[:8]), CreatedMs: e.now().UnixMilli()}
}

// rerun submits each job again, and says what became of it.
func (o *rerunOptions) rerun(ctx context.Context, e *env, cl *client.Client, ids []uint64) error {
	again, before, skipped := 0, 0, 0
	for _, id := range ids {
		j, err := cl.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: id})
		switch {
		case err != nil:
			return fmt.Errorf("job %d: %w (%s before it)", id, err, ui.Count(again, "job was submitted again", "jobs were submitted again"))
		case j.State != pb.JobState_JOB_STATE_SETTLED:
			return &codedError{exitRefused, fmt.Errorf("job %d is %s: it can run again once it is over", id, ui.State(j))}
		case j.Spec == nil:
			return fmt.Errorf("job %d has a description that this program cannot read; upgrade it", id)
		case j.Spec.Sealed != nil:
			skipped++
			fmt.Fprintf(e.stdout, "%d skipped: it had secrets, which must be given again: weir submit\n", id)
			continue
		}
		r, err := cl.Submit(ctx, &pb.SubmitRequest{Pool: j.Pool, Spec: j.Spec, Client: j.Client, Key: o.key(e, j)})
		if err != nil {
			return fmt.Errorf("submit job %d again: %w (%s before it)", id, err, ui.Count(again, "job was submitted again", "jobs were submitted again"))
		}
		if r.Repeat {
			before++
			fmt.Fprintf(e.stdout, "%d was submitted again before, as %d\n", id, r.Job)
			continue
		}
		again++
		fmt.Fprintf(e.stdout, "%d runs again as %d\n", id, r.Job)
	}
	if len(ids) != 1 {
		e.say("%s, %d before, %d skipped", ui.Count(again, "job was submitted again", "jobs were submitted again"), before, skipped)
	}
	return nil
}
