package cli

import (
	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newStatus(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Ask every node of the capability how it is, with or without a quorum",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := e.printer()
			if err != nil {
				return err
			}
			return e.with(func(cl *client.Client) error {
				reports := cl.Survey(c.Context())
				all := &pb.StatusOfNodes{}
				for _, r := range reports {
					n := &pb.StatusOfNode{Address: r.Address, Status: r.Status}
					if r.Err != nil {
						n.Error = client.Message(r.Err)
					}
					all.Nodes = append(all.Nodes, n)
				}
				return out.Print(all, func(t *ui.Table) { listNodes(t, all.Nodes) })
			})
		},
	}
	e.addClientFlags(c)
	e.addOutputFlag(c)
	return c
}

func listNodes(t *ui.Table, nodes []*pb.StatusOfNode) {
	t.Row("ADDRESS", "NODE", "STATE", "TERM", "APPLIED", "LEADER", "READY")
	for _, n := range nodes {
		s := n.Status
		if s == nil {
			t.Row(n.Address, "-", "no answer")
			continue
		}
		ready := "yes"
		if !s.Ready {
			ready = "no"
		}
		t.Row(n.Address, s.Name, s.State, s.Term, s.AppliedIndex, dash(s.LeaderName), ready)
	}
	for _, n := range nodes {
		switch {
		case n.Status == nil:
			t.Line("%s: %s", n.Address, n.Error)
		case n.Status.Why != "":
			t.Line("%s (%s): %s", n.Address, n.Status.Name, n.Status.Why)
		}
		if w := n.Status.GetWarning(); w != "" {
			t.Line("%s (%s): %s", n.Address, n.Status.Name, w)
		}
	}
}
