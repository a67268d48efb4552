package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newCap(e *env) *cobra.Command {
	c := &cobra.Command{Use: "cap", Short: "Create, list and revoke capabilities", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	e.addClientFlags(c)
	c.AddCommand(newCapCreate(e), newCapList(e), newCapRevoke(e))
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
	var file string
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
				return e.mint(file, func(hash []byte) (*pb.NewCapability, error) {
					req.TokenSha256 = hash
					return cl.Admin().CreateCapability(c.Context(), &req)
				})
			})
		},
	}
	c.Flags().StringVar(&req.Client, "client", "", "the client (submit)")
	c.Flags().StringArrayVar(&req.Pools, "pool", nil, "limit it to this pool (worker: exactly one; submit, operator, read: any number, none means all)")
	c.Flags().StringVar(&req.Note, "note", "", "what it is for")
	c.Flags().StringVar(&file, "file", "", "write it to this new file, mode 0600, instead of printing it")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	return c
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
