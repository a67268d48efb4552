package cli

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/dev"
)

func newDev(e *env) *cobra.Command {
	var o dev.Options
	c := &cobra.Command{
		Use: "dev", Short: "Try weir here: three nodes, two workers, a build, and the leader's death",
		Long: "Starts three scheduler nodes and two workers as processes on loopback, builds the repository around the\n" +
			"working directory (or a small sample), kills the leader in the middle of the build and tells what happened.\n" +
			"It needs no root and leaves nothing running. Builds run as you: do not build what you do not trust.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Binary, o.Out, o.Err = self, e.stdout, e.stderr
			return dev.Run(ctx, o)
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "keep everything in this new directory (a temporary one when not given)")
	c.Flags().BoolVar(&o.Serve, "serve", false, "leave the leader alone and run until Ctrl-C, for trying the other commands")
	return c
}
