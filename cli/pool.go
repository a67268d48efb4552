package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newPool(e *env) *cobra.Command {
	c := &cobra.Command{Use: "pool", Short: "Create, list, show, change, pause and delete pools", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	e.addClientFlags(c)
	c.AddCommand(newPoolCreate(e), newPoolList(e), newPoolShow(e), newPoolSet(e), newPoolRotateKey(e),
		newPoolPause(e), newPoolUnpause(e), newPoolDelete(e))
	return c
}

// poolFlags are an operator's choices; what is not given keeps its default.
func poolFlags(fs *pflag.FlagSet, p *pb.PoolConfig) {
	ms := func(to *int64, name, usage string) { fs.Var((*millis)(to), name, usage) }
	ms(&p.LeaseTtlMs, "lease-ttl", "silence of a worker after which its jobs go elsewhere (profile: 4s, 15s or 30s)")
	fs.Uint32Var(&p.Attempts, "attempts", 0, "attempts of a job whose workers are lost (default 3)")
	ms(&p.BackoffMs, "backoff", "wait before the second attempt, doubled for each later one (default 1s)")
	ms(&p.MaxBackoffMs, "max-backoff", "longest such wait (default 1m)")
	fs.Int64Var(&p.MaxQueued, "max-queued", 0, "jobs that may wait (default 100000)")
	fs.Int64Var(&p.MaxQueuedPerClient, "max-queued-per-client", 0, "jobs of one client that may wait (default a quarter of --max-queued)")
	fs.Int64Var(&p.KeepJobs, "keep-jobs", 0, "finished jobs kept (default 10000)")
	ms(&p.KeepForMs, "keep-for", "how long they are kept (default 720h)")
	ms(&p.TimeLimitMs, "time-limit", "of a job that asks for none (default 1h)")
	ms(&p.WaitLimitMs, "wait-limit", "time that a job may wait for a worker, each time that it waits, if it asks for no other (no limit when not given)")
	fs.Int64Var(&p.MaxUrgentPerHour, "max-urgent-per-hour", 0, "urgent jobs of one client in any hour (no limit when not given)")
	fs.Int64Var(&p.MaxRunning, "max-running", 0, "jobs that run at once (no limit when not given)")
	fs.Int64Var(&p.MaxRunningPerClient, "max-running-per-client", 0, "jobs of one client that run at once, if it has no limit of its own (no limit when not given)")
	ms(&p.WideAfterMs, "wide-after", "how long a job that needs several slots is passed over at the head of the queue before a worker saves slots for it (default 1m)")
	fs.Var((*bytesize.Size)(&p.LogLimitBytes), "log-limit", "most of one job's log, such as 1GiB (256MiB when not given)")
	ms(&p.CachedCostMs, "cached-cost", "assumed cost of a job whose cache hint is known (default 10s)")
	ms(&p.UncachedCostMs, "uncached-cost", "assumed cost of any other job (default 10m)")
	fs.Var((*onOff)(&p.Learn), "learn", "assume what such jobs took instead, once that was measured (default on)")
	fs.Var((*onOff)(&p.Steal), "steal", "idle workers take jobs that would wait too long for the worker that has their cache; urgent jobs go before those (default on)")
}

// onOff is a flag that takes on or off.
type onOff pb.Switch

func (s *onOff) String() string {
	switch pb.Switch(*s) {
	case pb.Switch_SWITCH_ON:
		return "on"
	case pb.Switch_SWITCH_OFF:
		return "off"
	}
	return "" // the help names the default
}
func (s *onOff) Type() string { return "on|off" }
func (s *onOff) Set(text string) error {
	switch text {
	case "on":
		*s = onOff(pb.Switch_SWITCH_ON)
	case "off":
		*s = onOff(pb.Switch_SWITCH_OFF)
	default:
		return fmt.Errorf("%q is neither on nor off", text)
	}
	return nil
}

// millis is a flag in Go's duration syntax, kept in milliseconds.
type millis int64

func (m *millis) String() string {
	if *m == 0 {
		return "" // the help names the default that applies
	}
	return (time.Duration(*m) * time.Millisecond).String()
}
func (m *millis) Type() string { return "duration" }
func (m *millis) Set(s string) error {
	d, err := time.ParseDuration(s)
	*m = millis(d.Milliseconds())
	return err
}

func newPoolCreate(e *env) *cobra.Command {
	var config pb.PoolConfig
	var capFile string
	var noCap bool
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a pool and the capability of its workers",
		Long: "Create a pool and the capability of its workers. In the capability is the pool's key, which is made here and\n" +
			"never sent to the cluster: it opens the secrets of jobs. More capabilities with the key are made from this one:\n" +
			"see `weir cap derive`.",
		Example: "  weir pool create linux --worker-cap linux-worker.cap",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				create := func(hash []byte) (*pb.NewCapability, error) {
					r, err := cl.Admin().CreatePool(c.Context(), &pb.CreatePoolRequest{Name: args[0], Config: &config, WorkerTokenSha256: hash})
					return r.GetWorker(), err
				}
				if noCap {
					_, err := create(nil)
					return e.done(err, "pool %s is created", args[0])
				}
				key, forget, err := pendingKey(capFile)
				if err != nil {
					return err
				}
				config.Recipient = key.Recipient()
				err = e.mint(capFile, create, withKeys(key))
				if err == nil {
					e.say("secrets of jobs in pool %s are sealed to key %s", args[0], key.ID())
				}
				if err == nil || client.Refused(err) {
					return errors.Join(err, forget())
				}
				return err
			})
		},
	}
	poolFlags(c.Flags(), &config)
	c.Flags().StringVar(&capFile, "worker-cap", "", "write the worker capability to this new file instead of printing it")
	c.Flags().BoolVar(&noCap, "no-cap", false, "make no worker capability (an operator may not; an admin makes one later with weir cap create)")
	return c
}

func newPoolList(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List pools", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				list, err := cl.Admin().ListPools(c.Context(), &pb.ListPoolsRequest{Stale: e.stale})
				if err != nil {
					return err
				}
				return out.Print(list, func(t *ui.Table) {
					t.Row("POOL", "QUEUED", "RUNNING", "FINISHED", "WORKERS", "FREE SLOTS")
					for _, p := range list.Pools {
						t.Row(p.Name, p.Queued, p.Running, p.Settled, workersOf(p), p.FreeSlots)
					}
				})
			})
		},
	}
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func onOffWord(s pb.Switch) string { return (*onOff)(&s).String() }

func newPoolSet(e *env) *cobra.Command {
	var config pb.PoolConfig
	var reset []string
	c := &cobra.Command{
		Use: "set NAME", Short: "Change a pool's choices; what is not given stays",
		Example: "  weir pool set linux --attempts 5 --reset max-queued,keep-for",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error {
			fields, err := poolFields(reset)
			if err != nil {
				return err
			}
			if len(fields) == 0 && proto.Size(&config) == 0 {
				return usageError("nothing to change; see `weir pool set --help`")
			}
			return e.with(func(cl *client.Client) error {
				_, err := cl.Admin().UpdatePool(c.Context(), &pb.UpdatePoolRequest{Name: args[0], Config: &config, ToDefault: fields})
				return e.done(err, "pool %s is changed", args[0])
			})
		},
	}
	poolFlags(c.Flags(), &config)
	c.Flags().StringSliceVar(&reset, "reset", nil, "choices that go back to their defaults, by the names of these flags")
	_ = c.RegisterFlagCompletionFunc("reset", cobra.FixedCompletions(poolChoices(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// poolChoices lists the flags of poolFlags.
func poolChoices() (names []string) {
	fs := pflag.NewFlagSet("pool", pflag.ContinueOnError)
	poolFlags(fs, &pb.PoolConfig{})
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// poolFields translates names of those flags to the protocol's, which say the
// unit as well.
func poolFields(flags []string) (fields []string, err error) {
	known := (&pb.PoolConfig{}).ProtoReflect().Descriptor().Fields()
	for _, flag := range flags {
		field := ""
		for _, unit := range []string{"", "_ms", "_bytes"} {
			if name := strings.ReplaceAll(flag, "-", "_") + unit; known.ByName(protoreflect.Name(name)) != nil {
				field = name
			}
		}
		if field == "" {
			return nil, usageError("--reset %s: use any of %s", flag, strings.Join(poolChoices(), ", "))
		}
		fields = append(fields, field)
	}
	return fields, nil
}

func newPoolDelete(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a pool that has no waiting or running job",
		Args: cobra.ExactArgs(1), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				_, err := cl.Admin().DeletePool(c.Context(), &pb.DeletePoolRequest{Name: args[0]})
				return e.done(err, "pool %s is deleted", args[0])
			})
		},
	}
}
