package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newCap(e *env) *cobra.Command {
	c := &cobra.Command{Use: "cap", Short: "Create, derive, list and revoke capabilities", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	e.addClientFlags(c)
	c.AddCommand(newCapCreate(e), newCapDerive(e), newCapList(e), newCapRevoke(e))
	return c
}

var capKinds = map[string]pb.CapabilityKind{
	"admin":    pb.CapabilityKind_CAPABILITY_ADMIN,
	"operator": pb.CapabilityKind_CAPABILITY_OPERATOR,
	"worker":   pb.CapabilityKind_CAPABILITY_WORKER,
	"submit":   pb.CapabilityKind_CAPABILITY_SUBMIT,
	"read":     pb.CapabilityKind_CAPABILITY_READ,
}

func newCapCreate(e *env) *cobra.Command {
	var req pb.CreateCapabilityRequest
	var file, keysFrom string
	var poolKeys []string
	c := &cobra.Command{
		Use:   "create admin|operator|worker|submit|read",
		Short: "Create a capability; its secret is printed once and never kept",
		Example: "  weir cap create worker --pool linux --file linux-worker.cap\n" +
			"  weir cap create submit --client alice --pool linux --pool arm",
		Args: cobra.ExactArgs(1), ValidArgs: []string{"admin", "operator", "worker", "submit", "read"},
		RunE: func(c *cobra.Command, args []string) error {
			kind, ok := capKinds[args[0]]
			if !ok {
				return usageError("unknown kind %q: use admin, operator, worker, submit or read", args[0])
			}
			req.Kind = kind
			return e.with(func(cl *client.Client) error {
				finish, err := e.finishCap(c.Context(), cl, &req, keysFrom, poolKeys)
				if err != nil {
					return err
				}
				return e.mint(file, func(hash []byte) (*pb.NewCapability, error) {
					req.TokenSha256 = hash
					return cl.Admin().CreateCapability(c.Context(), &req)
				}, finish...)
			})
		},
	}
	c.Flags().StringVar(&req.Client, "client", "", "the client (submit)")
	c.Flags().StringArrayVar(&req.Pools, "pool", nil, "limit it to this pool (worker: exactly one; submit, operator, read: any number, none means all)")
	c.Flags().StringVar(&req.Note, "note", "", "what it is for")
	c.Flags().StringVar(&file, "file", "", "write it to this new file, mode 0600, instead of printing it")
	c.Flags().StringVar(&keysFrom, "keys-from", "", "worker capability of the pool whose keys the new worker gets too; they are not sent to the cluster")
	c.Flags().StringArrayVar(&poolKeys, "pool-key", nil, "POOL=ID of the key that the pool's secrets are sealed to (submit; what the cluster says when not given)")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	return c
}

// finishCap says what a new capability gets that the cluster does not make.
func (e *env) finishCap(ctx context.Context, cl *client.Client, req *pb.CreateCapabilityRequest, keysFrom string, poolKeys []string) ([]finisher, error) {
	switch {
	case keysFrom != "" && req.Kind != pb.CapabilityKind_CAPABILITY_WORKER:
		return nil, usageError("--keys-from is for workers: others open no secrets")
	case len(poolKeys) > 0 && req.Kind != pb.CapabilityKind_CAPABILITY_SUBMIT:
		return nil, usageError("--pool-key is for submit capabilities: others seal no secrets")
	case keysFrom != "":
		pool := ""
		if len(req.Pools) == 1 {
			pool = req.Pools[0]
		}
		_, keys, err := workerCap("--keys-from", keysFrom, pool)
		return []finisher{withKeys(keys...)}, err
	case req.Kind == pb.CapabilityKind_CAPABILITY_SUBMIT:
		pins, err := e.pinPools(ctx, cl, req.Pools, poolKeys)
		return []finisher{pins}, err
	}
	return nil, nil
}

func newCapList(e *env) *cobra.Command {
	var req pb.ListCapabilitiesRequest
	c := &cobra.Command{
		Use: "list", Short: "List capabilities, never their secrets", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				req.Stale = e.stale
				list, err := cl.Admin().ListCapabilities(c.Context(), &req)
				if err != nil {
					return err
				}
				return out.Print(list, func(t *ui.Table) {
					t.Row("ID", "KIND", "CLIENT", "POOLS", "AGE", "STATE", "NOTE")
					for _, k := range list.Capabilities {
						t.Row(k.Id, ui.CapabilityKind(k.Kind), dash(ui.Clip(k.Client, 14)), dash(ui.Clip(strings.Join(k.Pools, ","), 16)), t.Ago(k.CreatedMs), capState(k), ui.Clip(k.Note, 20))
					}
				})
			})
		},
	}
	c.Flags().BoolVar(&req.Revoked, "revoked", false, "also those that were revoked")
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func capState(k *pb.Capability) string {
	if k.RevokedMs != 0 {
		return "revoked"
	}
	return "valid"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newCapRevoke(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a capability: its open streams end within a second",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				_, err := cl.Admin().RevokeCapability(c.Context(), &pb.RevokeCapabilityRequest{Id: args[0]})
				return e.done(err, "capability %s is revoked", args[0])
			})
		},
	}
}
