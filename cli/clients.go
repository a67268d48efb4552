package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newClient(e *env) *cobra.Command {
	c := &cobra.Command{Use: "client", Short: "Add, list and remove build clients, and set their rates and limits", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	e.addClientFlags(c)
	c.AddCommand(newClientAdd(e), newClientList(e), newClientRate(e), newClientLimit(e), newClientRemove(e))
	return c
}

func newClientAdd(e *env) *cobra.Command {
	var req pb.AddClientRequest
	var file string
	var noCap bool
	var rate float64
	var poolKeys []string
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a client; its submit capability is printed once",
		Example: "  weir client add ci --rate 20 --pool linux --file ci.cap",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				add := func(hash []byte) (*pb.NewCapability, error) {
					req.Name, req.TokenSha256, req.Rate = args[0], hash, &rate
					return cl.Admin().AddClient(c.Context(), &req)
				}
				if noCap {
					_, err := add(nil)
					return e.done(err, "client %s is added", args[0])
				}
				pins, err := e.pinPools(c.Context(), cl, req.Pools, poolKeys)
				if err != nil {
					return err
				}
				return e.mint(file, add, pins)
			})
		},
	}
	c.Flags().Float64Var(&rate, "rate", 1, "jobs it expects to run at once: its weight in fair sharing")
	c.Flags().StringArrayVar(&req.Pools, "pool", nil, "a pool it may use (all when not given)")
	c.Flags().StringArrayVar(&poolKeys, "pool-key", nil, "POOL=ID of the key that the pool's secrets are sealed to (what the cluster says when not given)")
	c.Flags().StringVar(&file, "file", "", "write the capability to this new file, mode 0600, instead of printing it")
	c.Flags().BoolVar(&noCap, "no-cap", false, "make no capability (an operator may not; an admin makes one later with weir cap create)")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	return c
}

func newClientRate(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "set-rate NAME RATE", Short: "Change a client's rate, for the jobs that it submits from now on",
		Example: "  weir client set-rate ci 50",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			rate, err := strconv.ParseFloat(args[1], 64)
			if err != nil || rate <= 0 {
				return usageError("rate %q is not a number above 0", args[1])
			}
			return e.with(func(cl *client.Client) error {
				_, err := cl.Admin().SetClientRate(c.Context(), &pb.SetClientRateRequest{Name: args[0], Rate: rate})
				return e.done(err, "client %s has rate %s", args[0], args[1])
			})
		},
	}
}

func newClientLimit(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "set-max-running NAME N", Short: "Change how many of a client's jobs run at once in each pool; 0: as the pool says",
		Example: "  weir client set-max-running ci 40",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[1], 10, 31)
			if err != nil {
				return usageError("limit %q is not a number of jobs", args[1])
			}
			return e.with(func(cl *client.Client) error {
				_, err := cl.Admin().SetClientLimit(c.Context(), &pb.SetClientLimitRequest{Name: args[0], MaxRunning: int64(n)})
				return e.done(err, "client %s runs at most %s in each pool", args[0], limitWord(int64(n), "as many jobs as the pool says"))
			})
		},
	}
}

// limitWord is a limit, or what holds without one.
func limitWord(n int64, none string) string {
	if n == 0 {
		return none
	}
	return ui.Count(int(n), "job", "jobs")
}

func newClientList(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List clients", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				list, err := cl.Admin().ListClients(c.Context(), &pb.ListClientsRequest{Stale: e.stale})
				if err != nil {
					return err
				}
				return out.Print(list, func(t *ui.Table) {
					t.Row("CLIENT", "RATE", "MOST RUNNING", "AGE")
					for _, k := range list.Clients {
						t.Row(k.Name, k.Rate, limitWord(k.MaxRunning, "-"), t.Ago(k.CreatedMs))
					}
				})
			})
		},
	}
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func newClientRemove(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Remove a client and revoke its capabilities",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				r, err := cl.Admin().RemoveClient(c.Context(), &pb.RemoveClientRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return ui.Text{W: e.stdout, Now: e.now()}.Print(r, func(t *ui.Table) {
					t.Line("client %s removed; revoked: %s", args[0], dash(strings.Join(r.Revoked, ", ")))
				})
			})
		},
	}
}
