package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// eventing is what weir events is told.
type eventing struct {
	from   uint64
	skip   uint32
	pool   string
	kinds  []string
	follow bool
}

// eventKinds are for completion; the nodes know what there is.
var eventKinds = []string{
	"attempt-ended", "capability-created", "capability-revoked", "client-changed", "job-backoff", "job-cancelling",
	"job-ended", "job-queued", "job-started", "leader-changed", "pool-changed", "pool-deleted", "worker-connected",
	"worker-disconnected", "worker-forgotten", "worker-paused", "worker-registered",
}

func newEvents(e *env) *cobra.Command {
	var o eventing
	c := &cobra.Command{
		Use: "events", Short: "Show what happens: jobs, workers, pools, leaders",
		Long: "Show what happens, in the order of the cluster's log, from any node. Each line begins with the place of the\n" +
			"event in the log, INDEX/POSITION; it is the same on every node, so that --from INDEX --skip POSITION+1 goes on\n" +
			"after it. Each node remembers the last 65,536 events in memory. With -f it goes on with what is to come, over\n" +
			"changes of leader and lost nodes, and misses and repeats nothing; without it, it ends where the log does.\n" +
			"A reader that is slower than the cluster ends with exit code 4, and says where to begin again. With -o json\n" +
			"each event is an object on a line of its own.\n\nKinds: " + strings.Join(ui.Wrap(strings.Join(eventKinds, " "), 100), "\n") + ".",
		Example: "  weir events -f --pool linux\n  weir events -f --kind leader-changed,worker-disconnected\n  weir events --from 4711 -o json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context(), e) },
	}
	e.addClientFlags(c)
	e.addOutputFlag(c)
	c.Flags().Uint64Var(&o.from, "from", 0, "begin at this index of the log (default: with -f, now)")
	c.Flags().Uint32Var(&o.skip, "skip", 0, "with --from: leave out so many events of that entry")
	c.Flags().StringVar(&o.pool, "pool", "", "only of this pool")
	c.Flags().StringSliceVar(&o.kinds, "kind", nil, "only of these kinds; repeat it or separate by commas")
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with what is to come")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(eventKinds, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// errEnough ends a stream of events that is not followed.
var errEnough = errors.New("that was all")

func (o *eventing) run(ctx context.Context, e *env) error {
	switch {
	case !o.follow && o.from == 0:
		return usageError("give -f to see what happens from now on, or --from INDEX for what has happened")
	case o.skip > 0 && o.from == 0:
		return usageError("--skip needs --from")
	}
	print, err := linePrinter(e, eventLine)
	if err != nil {
		return err
	}
	return e.with(func(cl *client.Client) error {
		end := uint64(0)
		if !o.follow {
			if end, err = endOfLog(ctx, cl); err != nil {
				return err
			}
		}
		req := &pb.WatchEventsRequest{From: o.from, Skip: o.skip, Pool: o.pool, Kinds: o.kinds}
		err := cl.RetryFor(outage).Events(ctx, req, func(batch *pb.Events) error {
			for _, event := range batch.Events {
				if !o.follow && event.Index >= end {
					return errEnough
				}
				if err := print(event); err != nil {
					return err
				}
			}
			if !o.follow && batch.From >= end {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
}

// endOfLog is the index after the newest event, as a node says it when asked for
// what is to come.
func endOfLog(ctx context.Context, cl *client.Client) (end uint64, err error) {
	err = cl.Events(ctx, &pb.WatchEventsRequest{}, func(batch *pb.Events) error {
		end = batch.From
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return end, err
}

func eventLine(ev *pb.Event) string {
	parts := []string{fmt.Sprintf("%d/%d", ev.Index, ev.Position), clock(ev.AtMs), ev.Kind}
	if ev.Job != 0 {
		parts = append(parts, fmt.Sprintf("job %d", ev.Job))
	}
	if ev.Outcome != pb.OutcomeKind_OUTCOME_UNSPECIFIED {
		parts = append(parts, ui.OutcomeKind(ev.Outcome))
	}
	for _, p := range []struct{ name, value string }{{"pool", ev.Pool}, {"worker", ev.Worker}, {"client", ev.Client}, {"node", ev.Node}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if ev.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", ev.Attempt))
	}
	if ev.Message != "" {
		parts = append(parts, "- "+ev.Message)
	}
	return ui.Clean(strings.Join(parts, " "))
}
