package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

func newPoolShow(e *env) *cobra.Command {
	var limit uint32
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a pool: what waits and why, what its workers do, its shares and its choices",
		Long: "Show a pool: its choices, what waits and why, what its workers run and what is reserved for them, and how\n" +
			"far each client is ahead of its share. A client sees the counts and the choices of its pools; with --stale\n" +
			"everybody does.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				if !e.stale {
					view, err := cl.Admin().ShowPool(c.Context(), &pb.ShowPoolRequest{Name: args[0], Limit: limit})
					if client.Reason(err) != reason.Denied {
						return printed(out, view, err, func(t *ui.Table) { showPoolView(t, view) })
					}
				}
				p, err := cl.Admin().GetPool(c.Context(), &pb.GetPoolRequest{Name: args[0], Stale: e.stale})
				return printed(out, p, err, func(t *ui.Table) { showPool(t, p) })
			})
		},
	}
	c.Flags().Uint32Var(&limit, "limit", 20, "jobs listed of the queue, and of each worker (200 is the most)")
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func showPool(t *ui.Table, p *pb.Pool) {
	ms := func(n int64) string { return ui.Short(time.Duration(n) * time.Millisecond) }
	t.Row("pool", p.Name)
	showPause(t, p.Pause)
	t.Row("jobs", fmt.Sprintf("%d queued, %d running, %d finished", p.Queued, p.Running, p.Settled))
	t.Row("workers", workersOf(p))
	f := p.Effective
	t.Row("lease TTL", ms(f.GetLeaseTtlMs()))
	t.Row("attempts", fmt.Sprintf("%d, back-off from %s to %s", f.GetAttempts(), ms(f.GetBackoffMs()), ms(f.GetMaxBackoffMs())))
	t.Row("queue", fmt.Sprintf("at most %d jobs, %d of one client", f.GetMaxQueued(), f.GetMaxQueuedPerClient()))
	if all, one := f.GetMaxRunning(), f.GetMaxRunningPerClient(); all+one > 0 {
		t.Row("running", fmt.Sprintf("at most %s, %s of one client", limitWord(all, "any number"), limitWord(one, "any number")))
	}
	if n := f.GetMaxUrgentPerHour(); n > 0 {
		t.Row("urgent", fmt.Sprintf("at most %d jobs of one client in an hour", n))
	}
	t.Row("kept", fmt.Sprintf("%d finished jobs, for %s", f.GetKeepJobs(), ms(f.GetKeepForMs())))
	t.Row("limits", fmt.Sprintf("%s running time, %s of log", ms(f.GetTimeLimitMs()), ui.Size(f.GetLogLimitBytes())))
	if n := f.GetWaitLimitMs(); n > 0 {
		t.Row("waiting", "at most "+ms(n))
	}
	t.Row("costs", fmt.Sprintf("%s cached, %s uncached; learn %s, steal %s", ms(f.GetCachedCostMs()), ms(f.GetUncachedCostMs()),
		onOffWord(f.GetLearn()), onOffWord(f.GetSteal())))
	t.Row("wide jobs", "slots are saved for them after "+ms(f.GetWideAfterMs()))
}

func showPause(t *ui.Table, p *pb.Pause) {
	if p == nil {
		return
	}
	text := "for " + t.Ago(p.SinceMs)
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	for i, line := range ui.Wrap(text, 64) {
		t.Row([]string{"paused", ""}[min(i, 1)], line)
	}
}

// showPoolView shows all of a pool, within 80 columns.
func showPoolView(t *ui.Table, v *pb.PoolView) {
	showPool(t, v.Pool)
	if len(v.Queue) > 0 {
		t.Line("")
		showQueue(t, v)
	}
	if len(v.Workers) > 0 {
		t.Line("")
		showPoolWorkers(t, v.Workers)
	}
	if len(v.Shares) == 0 {
		return
	}
	t.Line("")
	t.Row("CLIENT", "RATE", "WAITING", "RUNNING", "AHEAD OF ITS SHARE")
	for _, h := range v.Shares {
		t.Row(ui.Clip(h.Client, 28), rate(h.Rate), h.Waiting, h.Running, ahead(h.AheadMs))
	}
}

func showQueue(t *ui.Table, v *pb.PoolView) {
	t.Row("QUEUED", "CLIENT", "AGE", "SLOTS", "WHY IT WAITS")
	for _, q := range v.Queue {
		text := q.Why
		if q.Urgent {
			text = "urgent; " + text
		}
		for i, why := range ui.Wrap(text, 38) {
			if i > 0 {
				t.Row("", "", "", "", why)
				continue
			}
			t.Row(q.Job, ui.Clip(q.Client, 12), t.Ago(q.SubmittedMs), q.Slots, why)
		}
	}
	if more := v.Pool.Queued - int64(len(v.Queue)); more > 0 {
		t.Row("and " + ui.Count(int(more), "job", "jobs") + " more")
	}
}

func showPoolWorkers(t *ui.Table, workers []*pb.WorkerView) {
	t.Row("WORKER", "STATE", "RUNNING", "RESERVED", "JOBS")
	for _, v := range workers {
		w := v.Worker
		lines := ui.Wrap(jobIDs(v.Running, int(w.Running)), 19)
		t.Row(ui.Clip(w.Name, 16), ui.Clip(workerState(w), 20), fmt.Sprintf("%d/%d", w.Running, w.Slots), v.ReservedJobs, lines[0])
		for _, line := range lines[1:] {
			t.Row("", "", "", "", line)
		}
	}
}

// jobIDs lists the ids of some of so many jobs.
func jobIDs(jobs []*pb.JobView, all int) string {
	var words []string
	for _, j := range jobs {
		words = append(words, strconv.FormatUint(j.Job, 10))
	}
	if more := all - len(jobs); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, " ")
}

func rate(r float64) string {
	if r == 0 {
		return "removed"
	}
	return strconv.FormatFloat(r, 'g', 6, 64)
}

func ahead(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return ui.Short(time.Duration(ms) * time.Millisecond)
}

// printed prints an answer, unless there is an error instead.
func printed(out ui.Printer, m proto.Message, err error, text func(*ui.Table)) error {
	if err != nil {
		return err
	}
	return out.Print(m, text)
}
