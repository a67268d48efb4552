package cli

import (
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/top"
	"github.com/weirbuild/weir/proto/client"
)

func newTop(e *env) *cobra.Command {
	var o top.Options
	c := &cobra.Command{
		Use: "top", Short: "Watch pools, workers, slots, the queue and rates, live",
		Long: "Watch pools, workers, slots, the queue and rates, live, until q or Ctrl-C. Rates are jobs a minute, of the last\n" +
			"minute at most. Where the output is no terminal, it is text: one frame, or with --interval one after another.",
		Example: "  weir top --pool linux\n  weir top --interval 10s | tee load.txt",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Interval < 0 || o.Interval > 0 && o.Interval < 100*time.Millisecond {
				return usageError("--interval %v: at least 100ms", o.Interval)
			}
			return e.with(func(cl *client.Client) error {
				out, ok := e.stdout.(*os.File)
				if !ok || !term.IsTerminal(out.Fd()) {
					return top.Text(c.Context(), cl, o, e.stdout)
				}
				if o.Interval == 0 {
					o.Interval = time.Second
				}
				return top.Live(c.Context(), cl, o, e.stdin, e.stdout)
			})
		},
	}
	e.addClientFlags(c)
	c.Flags().StringVar(&o.Pool, "pool", "", "only this pool")
	c.Flags().DurationVar(&o.Interval, "interval", 0, "time between two looks (default 1s in a terminal, else one look)")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	return c
}
