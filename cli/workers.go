package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newWorkerList(e *env) *cobra.Command {
	var pool string
	c := &cobra.Command{
		Use: "list", Short: "List the known workers", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				list, err := cl.Admin().ListWorkers(c.Context(), &pb.ListWorkersRequest{Pool: pool, Stale: e.stale})
				if err != nil {
					return err
				}
				return out.Print(list, func(t *ui.Table) { listWorkers(t, list.Workers) })
			})
		},
	}
	c.Flags().StringVar(&pool, "pool", "", "only of this pool")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	e.addClientFlags(c)
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func listWorkers(t *ui.Table, workers []*pb.Worker) {
	t.Row("POOL", "WORKER", "STATE", "RUNNING", "HEARD", "VERSION", "KINDS")
	for _, w := range workers {
		heard := "-"
		if w.Connected {
			heard = ui.Short(time.Duration(w.LastHeardMsAgo)*time.Millisecond) + " ago"
		}
		t.Row(ui.Clip(w.Pool, 14), ui.Clip(w.Name, 20), workerState(w), fmt.Sprintf("%d/%d", w.Running, w.Slots), heard, ui.Clip(w.Version, 12), shortKinds(w))
	}
}

// kindsWidth is how wide the kinds of a worker may be in a row of several.
const kindsWidth = 16

// shortKinds are the kinds of job that a worker takes, as many as have room.
func shortKinds(w *pb.Worker) string {
	if len(w.Kinds) == 0 {
		return "-"
	}
	said := ui.Clip(w.Kinds[0], kindsWidth)
	for i, k := range w.Kinds[1:] {
		if len(said)+1+len(k) > kindsWidth {
			return fmt.Sprintf("%s +%d", said, len(w.Kinds)-1-i)
		}
		said += "," + k
	}
	return said
}

// workerState is a worker's state in a few words.
func workerState(w *pb.Worker) string {
	state := w.State
	if w.Pause != nil && state != "paused" {
		state += ", paused"
	}
	if w.RelayedBy != "" {
		state += " via " + ui.Clip(w.RelayedBy, 12)
	}
	return state
}

func workersOf(p *pb.Pool) string {
	return fmt.Sprintf("%d of %d", p.WorkersConnected, p.WorkersKnown)
}

func newWorkerForget(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "forget POOL NAME", Short: "Forget a worker that has stopped: its name is free, its cache hints are gone",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				_, err := cl.Admin().ForgetWorker(c.Context(), &pb.ForgetWorkerRequest{Pool: args[0], Name: args[1]})
				return e.done(err, "worker %s of pool %s is forgotten", args[1], args[0])
			})
		},
	}
	e.addClientFlags(c)
	return c
}
