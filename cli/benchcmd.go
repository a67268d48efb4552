package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/bench"
)

func newBench(e *env) *cobra.Command {
	var o bench.Options
	names, help := bench.Sections()
	c := &cobra.Command{
		Use: "bench", Short: "Measure a cluster on this machine, each figure beside its limit",
		Long: "Starts real clusters of processes with TLS and fsync on this machine and measures them; each figure\n" +
			"stands beside the limit that the parts allow, measured in the same run. It takes some minutes.\n\nSections:\n" + help,
		Args: cobra.NoArgs,
		RunE: signalled(func(ctx context.Context) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			if _, err := e.printer(); err != nil {
				return err
			}
			o.Binary, o.Out, o.Err, o.JSON = self, e.stdout, e.stderr, e.output == "json"
			return bench.Run(ctx, o)
		}),
	}
	c.Flags().StringSliceVar(&o.Only, "only", nil, "sections to run (all when not given)")
	c.Flags().StringSliceVar(&o.Stores, "log-store", nil, "Raft log stores to measure (all when not given)")
	c.Flags().IntSliceVar(&o.Loads, "in-flight", nil, "jobs in flight to measure lifecycles at (64, 256 and 1024 when not given)")
	c.Flags().BoolVar(&o.Quick, "quick", false, "smaller runs")
	c.Flags().StringVar(&o.Dir, "dir", "", "keep everything in this directory (a temporary one when not given)")
	e.addOutputFlag(c)
	_ = c.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	for _, part := range []*cobra.Command{newBenchWorkers(), newBenchClients(), newBenchNode(e)} {
		part.Hidden, part.Args = true, cobra.NoArgs
		c.AddCommand(part)
	}
	return c
}

// signalled is a RunE whose context ends with SIGINT or SIGTERM.
func signalled(f func(context.Context) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return f(ctx)
	}
}

func newBenchWorkers() *cobra.Command {
	var o bench.WorkersConfig
	c := &cobra.Command{Use: "sim-workers", Short: "Simulated workers in a process of their own",
		RunE: signalled(func(ctx context.Context) error { return bench.RunWorkers(ctx, o) })}
	c.Flags().StringVar(&o.Capability, "connect", "", "worker capability")
	c.Flags().StringVar(&o.Pool, "pool", "", "pool")
	c.Flags().IntVar(&o.Workers, "workers", 1, "workers")
	c.Flags().Uint32Var(&o.Slots, "slots", 1, "slots of each")
	c.Flags().IntVar(&o.LogBytes, "log-bytes", 0, "bytes of each job's log")
	return c
}

func newBenchClients() *cobra.Command {
	var o bench.ClientsConfig
	c := &cobra.Command{Use: "sim-clients", Short: "Simulated clients in a process of their own",
		RunE: signalled(func(ctx context.Context) error { return bench.RunClients(ctx, o) })}
	c.Flags().StringVar(&o.Capability, "connect", "", "submit capability")
	c.Flags().StringVar(&o.Pool, "pool", "", "pool")
	c.Flags().IntVar(&o.Jobs, "jobs", 0, "jobs to submit")
	c.Flags().IntVar(&o.InFlight, "in-flight", 1, "jobs in flight")
	c.Flags().BoolVar(&o.Queue, "queue", false, "do not wait for the jobs to settle")
	return c
}

func newBenchNode(e *env) *cobra.Command {
	var o bench.NodeConfig
	c := &cobra.Command{Use: "raw-node", Short: "A Raft member without weir's service",
		RunE: signalled(func(ctx context.Context) error {
			return bench.RunNode(ctx, o, hclog.New(&hclog.LoggerOptions{Name: "raw", Output: e.stderr, Level: hclog.Info}))
		})}
	f := c.Flags()
	f.StringVar(&o.Name, "name", "", "name")
	f.StringVar(&o.DataDir, "data-dir", "", "data directory")
	f.StringVar(&o.Listen, "listen", "", "address")
	f.StringVar(&o.Advertise, "advertise", "", "address for others")
	f.StringVar(&o.HTTP, "http-listen", "", "ignored")
	f.StringVar(&o.TLSDir, "tls-dir", "", "certificates")
	f.IntVar(&o.Expect, "bootstrap-expect", 3, "nodes")
	f.StringSliceVar(&o.Join, "join", nil, "other nodes")
	f.StringVar(&o.Profile, "profile", "local", "timings")
	f.StringVar(&o.LogStore, "log-store", "bolt", "log store")
	f.StringVar(&o.Machine, "machine", "empty", "empty or fsm")
	return c
}
