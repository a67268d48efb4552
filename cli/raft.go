package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newRaft(e *env) *cobra.Command {
	c := &cobra.Command{Use: "raft", Short: "List and change the members of the cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	e.addClientFlags(c)
	c.AddCommand(newRaftList(e), newRaftAdd(e), newRaftRemove(e), newRaftTransfer(e))
	return c
}

func newRaftList(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the members, who leads, and how far each has come", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				list, err := cl.Members().ListMembers(c.Context(), &pb.ListMembersRequest{Stale: e.stale})
				if err != nil {
					return err
				}
				return out.Print(list, func(t *ui.Table) { listMembers(t, list) })
			})
		},
	}
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	return c
}

func listMembers(t *ui.Table, list *pb.ListMembersReply) {
	t.Line("cluster %s, term %d", list.ClusterId, list.Term)
	t.Row("NAME", "ADDRESS", "ROLE", "HEALTH", "HEARD", "NODE ID")
	for _, m := range list.Members {
		role, heard := m.Suffrage, "-"
		if m.Leader {
			role = "leader"
		} else if m.LastContactMs >= 0 {
			heard = ui.Short(time.Duration(m.LastContactMs)*time.Millisecond) + " ago"
		}
		t.Row(m.Name, m.Address, role, dash(m.Health), heard, ui.Clip(m.NodeId, 13))
	}
}

func newRaftAdd(e *env) *cobra.Command {
	var req pb.AddMemberRequest
	c := &cobra.Command{
		Use: "add NODE-ID ADDRESS --name NAME", Short: "Add a node, first without a vote, with one once it has caught up",
		Long: "Add a node by hand. A node that is started with --join adds itself: this is for one that cannot.\n" +
			"Its node id is in DATA-DIR/node-id and in its log.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				req.NodeId, req.Address = args[0], args[1]
				r, err := cl.Members().AddMember(c.Context(), &req)
				if err != nil {
					return err
				}
				return ui.Text{W: e.stdout, Now: e.now()}.Print(r, func(t *ui.Table) {
					t.Line("node %s at %s is a %s", r.Member.NodeId, r.Member.Address, r.Member.Suffrage)
				})
			})
		},
	}
	c.Flags().StringVar(&req.Name, "name", "", "the node's name, as it has it itself (required)")
	if err := c.MarkFlagRequired("name"); err != nil {
		panic(err) // there is no such flag
	}
	c.Flags().BoolVar(&req.Voter, "voter", true, "give it a vote once it has caught up")
	return c
}

func newRaftRemove(e *env) *cobra.Command {
	var req pb.RemoveMemberRequest
	c := &cobra.Command{
		Use: "remove NAME|NODE-ID", Short: "Remove a member; refused when that would break the quorum",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error {
				req.Member = args[0]
				_, err := cl.Members().RemoveMember(c.Context(), &req)
				return e.done(err, "%s is no member any more; to bring it back, empty its data directory and start it with --join", args[0])
			})
		},
	}
	c.Flags().BoolVar(&req.Force, "force", false, "also a live member that leaves the cluster without a spare voter")
	return c
}

func newRaftTransfer(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "transfer [NAME|NODE-ID]", Short: "Hand the leadership over, to the best node or to this one",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			req := &pb.TransferLeadershipRequest{}
			if len(args) == 1 {
				req.To = args[0]
			}
			return e.with(func(cl *client.Client) error {
				r, err := cl.Members().TransferLeadership(c.Context(), req)
				if err != nil {
					return err
				}
				return ui.Text{W: e.stdout, Now: e.now()}.Print(r, func(t *ui.Table) { t.Line("%s leads", r.Leader) })
			})
		},
	}
}
