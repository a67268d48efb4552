package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/sim"
)

const simHelp = `Run the scheduler on virtual time: the real state machine and planner, with
workers and builds that are only events. FILE (- is the standard input) has one
event a line, and # begins a comment:

  costs cached=2s uncached=10s          fixed costs; implies learn=off steal=off unless
  policy learn=on steal=on              follows
  worker NAME slots=N [labels=k=v,..]   connects, or connects again, and is ready
  limits [running=N] [per-client=N] [wide-after=60s]
  leave NAME | pause NAME | unpause NAME | forget NAME
  rate CLIENT R
  submit JOB client=C [hint=H] [urgent] [slots=N] [labels=k=v,..]
             [concurrency=KEY=N] [priority=N]
             [takes=CACHED/UNCACHED]    the job then ends by itself
  finish JOB [failed] | cancel JOB
  advance 30s
  failover                              a new leader, from a snapshot
  show                                  the pool, as weir pool show prints it

It prints the decisions as they are made: "start JOB WORKER", "end JOB OUTCOME".

With --workload it runs generated load instead, and prints what two policies make
of it side by side: those given, or fixed costs as OCluster has and the default.`

func newSim(e *env) *cobra.Command {
	var times bool
	var load loadOptions
	c := &cobra.Command{
		Use: "sim FILE | sim --workload FILE.json", Short: "Try the scheduler on virtual time", Long: simHelp,
		Example: "  weir sim --times morning.sim\n  weir sim --workload examples/sim/opam-ci.json --seeds 3 --chart opam-ci.svg",
		Args: func(c *cobra.Command, args []string) error {
			if load.file != "" {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if load.file != "" {
				return runWorkload(e, load)
			}
			return e.withInput(args[0], func(r io.Reader) error { return runScript(e, r, times) })
		},
	}
	c.Flags().BoolVar(&times, "times", false, "put the virtual time in front of every line")
	c.Flags().StringVar(&load.file, "workload", "", "run the load that this file describes")
	c.Flags().StringArrayVar(&load.policies, "policy", nil, "what to run it with, as "+sim.Default.String()+"; at most twice")
	c.Flags().IntVar(&load.seeds, "seeds", 0, "use only so many of its seeds (default all)")
	c.Flags().StringVar(&load.chart, "chart", "", "draw the queue and the busy slots of the first seed to this file, .svg or .png")
	return c
}

// withInput opens a file, or the standard input.
func (e *env) withInput(name string, f func(io.Reader) error) error {
	if name == "-" {
		return f(e.stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return usageError("%w", err)
	}
	defer file.Close()
	if err := f(file); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func runScript(e *env, r io.Reader, times bool) error {
	s, err := sim.NewScript()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(e.stdout)
	s.Print = func(at time.Duration, line string) {
		if times {
			line = at.String() + " " + line
		}
		fmt.Fprintln(out, line)
	}
	s.Show = func(now time.Time, pool *pb.PoolView) error {
		return ui.Text{W: out, Now: now}.Print(pool, func(t *ui.Table) { showPoolView(t, pool) })
	}
	err = s.Run(r)
	if flushErr := out.Flush(); flushErr != nil {
		return flushErr
	}
	if err != nil {
		return usageError("%w", err)
	}
	return nil
}
