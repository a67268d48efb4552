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

func newWorkerShow(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "show POOL NAME", Short: "Show a worker, what it runs and what is reserved for it",
		Args: cobra.ExactArgs(2), ValidArgsFunction: e.completeWorkers,
		RunE: func(c *cobra.Command, args []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				v, err := cl.Admin().ShowWorker(c.Context(), &pb.ShowWorkerRequest{Pool: args[0], Name: args[1]})
				return printed(out, v, err, func(t *ui.Table) { showWorker(t, v) })
			})
		},
	}
	e.addClientFlags(c)
	e.addOutputFlag(c)
	return c
}

func showWorker(t *ui.Table, v *pb.WorkerView) {
	w := v.Worker
	t.Row("worker", w.Name)
	t.Row("pool", w.Pool)
	t.Row("state", workerState(w))
	showPause(t, w.Pause)
	showWrapped(t, "why", w.Why)
	showWrapped(t, "takes", strings.Join(w.Kinds, " "))
	t.Row("jobs", fmt.Sprintf("%d running, on %d slots", w.Running, w.Slots))
	if v.ReservedJobs > 0 {
		t.Row("reserved", fmt.Sprintf("%s for it, expected to take %s", ui.Count(int(v.ReservedJobs), "job waits", "jobs wait"), ui.Short(time.Duration(v.WorkloadMs)*time.Millisecond)))
	}
	if w.LastHeardMsAgo > 0 {
		t.Row("heard", ui.Short(time.Duration(w.LastHeardMsAgo)*time.Millisecond)+" ago")
	}
	var labels []string
	for _, l := range w.Labels {
		labels = append(labels, l.Name+"="+l.Value)
	}
	showWrapped(t, "labels", strings.Join(labels, " "))
	t.Row("version", ui.Clip(w.Version, 64))
	t.Row("first seen", moment(w.FirstSeenMs))
	showWorkerJobs(t, "RUNNING", "FOR", v.Running, func(j *pb.JobView) string { return t.Ago(j.StartedMs) })
	showWorkerJobs(t, "RESERVED", "AGE", v.Reserved, func(j *pb.JobView) string { return t.Ago(j.SubmittedMs) })
	if more := int(v.ReservedJobs) - len(v.Reserved); more > 0 {
		t.Row("and " + ui.Count(more, "job", "jobs") + " more")
	}
}

// showWrapped shows a text in as many rows as it needs; none when it is empty.
func showWrapped(t *ui.Table, title, text string) {
	for i, line := range ui.Wrap(text, 64) {
		t.Row([]string{title, ""}[min(i, 1)], line)
	}
}

func showWorkerJobs(t *ui.Table, title, since string, jobs []*pb.JobView, time func(*pb.JobView) string) {
	if len(jobs) == 0 {
		return
	}
	t.Line("")
	t.Row(title, "CLIENT", "SLOTS", since, "CACHE HINT")
	for _, j := range jobs {
		t.Row(j.Job, ui.Clip(j.Client, 20), j.Slots, time(j), dash(ui.Clip(j.CacheHint, 30)))
	}
}

func newWorkerEvict(e *env) *cobra.Command {
	var why string
	c := &cobra.Command{
		Use: "evict POOL NAME [JOB...]", Short: "Take running jobs off a worker, without failing them",
		Long: "Take running jobs off a worker: those that are named, or all. They go back to their places in the queue, no\n" +
			"attempt of theirs counts as failed, and the worker kills what it ran of them. A worker that is not paused may\n" +
			"get them again.",
		Example: "  weir worker pause linux w1 && weir worker evict linux w1 --reason \"new disks\"",
		Args:    cobra.MinimumNArgs(2), ValidArgsFunction: e.completeWorkers,
		RunE: func(c *cobra.Command, args []string) error {
			req := &pb.EvictJobsRequest{Pool: args[0], Worker: args[1], Reason: why}
			for _, text := range args[2:] {
				id, err := parseJob(text)
				if err != nil {
					return err
				}
				req.Jobs = append(req.Jobs, id)
			}
			return e.with(func(cl *client.Client) error {
				r, err := cl.Admin().EvictJobs(c.Context(), req)
				return e.done(err, "%s taken off worker %s", ui.Count(len(r.GetJobs()), "job is", "jobs are"), args[1])
			})
		},
	}
	e.addClientFlags(c)
	c.Flags().StringVar(&why, "reason", "", "kept in the jobs' history")
	return c
}

// completeWorkers completes a pool, and then workers of it.
func (e *env) completeWorkers(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return e.completePools(c, args, word)
	}
	return e.complete(c, func(cl *client.Client) (names []string, err error) {
		list, err := cl.Admin().ListWorkers(c.Context(), &pb.ListWorkersRequest{Pool: args[0], Stale: true})
		for _, w := range list.GetWorkers() {
			names = append(names, w.Name)
		}
		return names, err
	})
}
