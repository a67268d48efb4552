package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// auditing is what weir audit is told.
type auditing struct {
	since  time.Duration
	limit  uint32
	follow bool
}

const (
	auditPage = 500
	auditPoll = time.Second
)

func newAudit(e *env) *cobra.Command {
	var o auditing
	c := &cobra.Command{
		Use: "audit", Short: "Show who changed what, when and from where",
		Long: "Show administrative changes, the oldest first: of pools, workers, clients, capabilities and members, cancels and\n" +
			"submits in the name of others, evictions. The cluster keeps the newest 10,000. Attempts that were refused are\n" +
			"in the nodes' logs. With -o json each change is an object on a line of its own.",
		Example: "  weir audit --since 24h\n  weir audit -f -o json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context(), e) },
	}
	e.addClientFlags(c)
	e.addOutputFlag(c)
	e.addStaleFlag(c)
	c.Flags().DurationVar(&o.since, "since", 0, "all of so long, such as 24h (default: the newest --limit)")
	c.Flags().Uint32VarP(&o.limit, "limit", "n", 50, "how many of the newest, without --since: at most 1000")
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with what is changed from now on")
	return c
}

func (o *auditing) run(ctx context.Context, e *env) error {
	if o.since < 0 || o.limit == 0 || o.limit > 1000 {
		return usageError("give --since a time above 0, and --limit a number from 1 to 1000")
	}
	print, err := linePrinter(e, changeLine)
	if err != nil {
		return err
	}
	return e.with(func(cl *client.Client) error {
		cl = cl.RetryFor(outage)
		req := &pb.ListChangesRequest{Last: true, Limit: o.limit, Stale: e.stale}
		if o.since > 0 {
			req = &pb.ListChangesRequest{SinceMs: e.now().Add(-o.since).UnixMilli(), Limit: auditPage, Stale: e.stale}
		}
		after, err := o.list(ctx, e, cl, req, print)
		if err != nil || !o.follow {
			return err
		}
		return poll(ctx, auditPoll, func() (bool, error) {
			after, err = o.list(ctx, e, cl, &pb.ListChangesRequest{After: after, Limit: auditPage}, print)
			return false, err
		})
	})
}

// list prints what a request and those that continue it find, and returns the
// number of the last.
func (o *auditing) list(ctx context.Context, e *env, cl *client.Client, req *pb.ListChangesRequest, print func(*pb.Change) error) (last uint64, err error) {
	last = req.After
	for {
		r, err := cl.Admin().ListChanges(ctx, req)
		if err != nil {
			return last, err
		}
		if req.After > 0 && r.Forgotten > req.After {
			e.say("changes %d to %d are not kept any more", req.After+1, r.Forgotten)
		}
		for _, c := range r.Changes {
			if err := print(c); err != nil {
				return last, err
			}
			last = c.Number
		}
		if req.After = r.NextAfter; req.After == 0 {
			return max(last, r.Forgotten), nil
		}
	}
}

func changeLine(c *pb.Change) string {
	who := c.Who
	if c.KnownAs != "" {
		who += " (" + c.KnownAs + ")"
	}
	what := c.Action
	if c.Pool != "" && c.Pool != c.Target {
		what += " " + c.Pool
	}
	line := []string{moment(c.AtMs), who, c.From, strings.TrimSpace(what + " " + c.Target)}
	if c.Detail != "" {
		line = append(line, "- "+c.Detail)
	}
	return ui.Clean(strings.Join(line, "  "))
}
