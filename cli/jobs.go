package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

type jobsOptions struct {
	pool, client string
	state        string
	limit        uint32
	before       uint64
}

var jobStates = map[string][]pb.JobState{
	"":        nil,
	"queued":  {pb.JobState_JOB_STATE_QUEUED, pb.JobState_JOB_STATE_BACKOFF},
	"running": {pb.JobState_JOB_STATE_RUNNING},
	"settled": {pb.JobState_JOB_STATE_SETTLED},
}

func newJobs(e *env) *cobra.Command {
	var o jobsOptions
	c := &cobra.Command{
		Use:     "jobs",
		Short:   "List jobs, newest first",
		Example: "  weir jobs --pool linux --state running\n  weir jobs -o json --limit 1000",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runJobs(c, e, o) },
	}
	e.addClientFlags(c)
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	c.Flags().StringVar(&o.pool, "pool", "", "only of this pool")
	c.Flags().StringVar(&o.client, "client", "", "only of this client")
	c.Flags().StringVar(&o.state, "state", "", "only queued, running or settled ones")
	c.Flags().Uint32Var(&o.limit, "limit", 20, "how many at most (1,000 is the most)")
	c.Flags().Uint64Var(&o.before, "before", 0, "only ids below this one: the next page")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"queued", "running", "settled"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func runJobs(c *cobra.Command, e *env, o jobsOptions) error {
	states, ok := jobStates[o.state]
	if !ok {
		return usageError("unknown state %q: use queued, running or settled", o.state)
	}
	out, err := e.printer()
	if err != nil {
		return err
	}
	return e.with(func(cl *client.Client) error {
		list, err := cl.Jobs().ListJobs(c.Context(), &pb.ListJobsRequest{
			Pool: o.pool, Client: o.client, States: states, Limit: o.limit, Before: o.before, Stale: e.stale,
		})
		if err != nil {
			return err
		}
		return out.Print(list, func(t *ui.Table) {
			t.Row("ID", "POOL", "CLIENT", "STATE", "AGE", "TOOK", "WORKER")
			for _, j := range list.Jobs {
				t.Row(j.Id, ui.Clip(j.Pool, 12), ui.Clip(j.Client, 14), ui.State(j), t.Ago(j.SubmittedMs), took(t, j), ui.Clip(worker(j), 16))
			}
			if list.NextBefore != 0 {
				t.Line("More: weir jobs --before %d", list.NextBefore)
			}
		})
	})
}

func lastAttempt(j *pb.Job) *pb.Attempt {
	if len(j.Attempts) == 0 {
		return nil
	}
	return j.Attempts[len(j.Attempts)-1]
}

func worker(j *pb.Job) string {
	if a := lastAttempt(j); a != nil {
		return a.Worker
	}
	return "-"
}

func took(t *ui.Table, j *pb.Job) string {
	a := lastAttempt(j)
	return t.Between(a.GetStartedMs(), a.GetEndedMs())
}

// parseJob reads a job id as people and other commands write it.
func parseJob(text string) (uint64, error) {
	id, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 10, 64)
	if err != nil || id == 0 {
		return 0, usageError("%q is not a job id: it is a number, as `weir jobs` lists them", text)
	}
	return id, nil
}

func (e *env) completePools(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.complete(c, func(cl *client.Client) ([]string, error) {
		list, err := cl.Admin().ListPools(c.Context(), &pb.ListPoolsRequest{Stale: true})
		var names []string
		for _, p := range list.GetPools() {
			names = append(names, p.Name)
		}
		return names, err
	})
}

func (e *env) completeJobs(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.complete(c, func(cl *client.Client) ([]string, error) {
		list, err := cl.Jobs().ListJobs(c.Context(), &pb.ListJobsRequest{Limit: 30, Stale: true})
		var ids []string
		for _, j := range list.GetJobs() {
			ids = append(ids, fmt.Sprintf("%d\t%s, %s, %s", j.Id, j.Pool, j.Client, ui.State(j)))
		}
		return ids, err
	})
}

// complete asks the cluster briefly: a shell waits for the answer.
func (e *env) complete(_ *cobra.Command, list func(*client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	var words []string
	err := e.with(func(cl *client.Client) error {
		var err error
		words, err = list(cl.RetryFor(client.DefaultPatience / 4))
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
