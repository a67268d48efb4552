package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

type jobsOptions struct {
	pool, client string
	state        string
	hint         string
	repo, commit string
	since        time.Duration
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
	c.Flags().StringVar(&o.state, "state", "", "only queued, running, settled or failed ones (settled, and neither succeeded nor cancelled)")
	c.Flags().StringVar(&o.hint, "cache-hint", "", "only with this cache hint")
	c.Flags().StringVar(&o.repo, "repo", "", "only of this repository, by its URL")
	c.Flags().StringVar(&o.commit, "commit", "", "only of this commit, or of one that begins so")
	c.Flags().DurationVar(&o.since, "since", 0, "only those submitted within so long, such as 2h")
	c.Flags().Uint32Var(&o.limit, "limit", 20, "how many at most")
	c.Flags().Uint64Var(&o.before, "before", 0, "only ids below this one: the next page")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"queued", "running", "settled", "failed"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (o *jobsOptions) request(e *env) (*pb.ListJobsRequest, error) {
	req := &pb.ListJobsRequest{
		Pool: o.pool, Client: o.client, CacheHint: o.hint, Repository: o.repo, Commit: o.commit, MaxAgeMs: o.since.Milliseconds(),
		Limit: o.limit, Before: o.before, Stale: e.stale,
	}
	states, ok := jobStates[o.state]
	switch {
	case o.limit == 0:
		return nil, usageError("--limit 0: want at least 1")
	case o.since < 0:
		return nil, usageError("--since %v: want a time above 0, such as 2h", o.since)
	case o.state == "failed":
		req.Outcomes = failures
	case !ok:
		return nil, usageError("unknown state %q: use queued, running, settled or failed", o.state)
	}
	req.States = states
	return req, nil
}

// failures are the ends of a job that are neither success nor cancellation.
var failures = []pb.OutcomeKind{
	pb.OutcomeKind_OUTCOME_FAILED, pb.OutcomeKind_OUTCOME_TIMED_OUT, pb.OutcomeKind_OUTCOME_LOST, pb.OutcomeKind_OUTCOME_WORKER_ERROR,
}

func runJobs(c *cobra.Command, e *env, o jobsOptions) error {
	req, err := o.request(e)
	if err != nil {
		return err
	}
	out, err := e.printer()
	if err != nil {
		return err
	}
	return e.with(func(cl *client.Client) error {
		list, err := findJobs(c.Context(), cl, req)
		if err != nil {
			return err
		}
		return out.Print(list, func(t *ui.Table) {
			t.Row("ID", "POOL", "CLIENT", "STATE", "AGE", "TOOK", "WORKER")
			for _, j := range list.Jobs {
				t.Row(j.Id, ui.Clip(j.Pool, 12), ui.Clip(j.Client, 14), ui.State(j), t.Ago(j.SubmittedMs), took(t, j), ui.Clip(worker(j), 16))
			}
			if list.NextBefore != 0 {
				t.Line("More: the same command with --before %d", list.NextBefore)
			}
		})
	})
}

// findJobs fills a page: a node that has looked through many jobs and found few
// answers with less, and where to go on. A page begins below an id, so that jobs
// which come and go meanwhile shift nothing.
func findJobs(ctx context.Context, cl *client.Client, req *pb.ListJobsRequest) (*pb.ListJobsReply, error) {
	found := &pb.ListJobsReply{}
	for want := req.Limit; ; {
		page, err := cl.Jobs().ListJobs(ctx, req)
		if err != nil {
			return nil, err
		}
		found.Jobs, found.NextBefore = append(found.Jobs, page.Jobs...), page.NextBefore
		if page.NextBefore == 0 || uint32(len(found.Jobs)) >= want {
			return found, nil
		}
		req.Before, req.Limit = page.NextBefore, want-uint32(len(found.Jobs))
	}
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
