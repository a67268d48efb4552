package cli

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/scheduler"
)

func newServer(e *env) *cobra.Command {
	cfg := scheduler.Default()
	cfg.Version = Version
	var check bool
	c := &cobra.Command{
		Use:   "server --data-dir DIR --tls-dir DIR",
		Short: "Run a scheduler node",
		Long: "Run a scheduler node. Three or five of them make a cluster: start each with --bootstrap-expect and the\n" +
			"addresses of the others. Every flag is also a key of the --config file and an environment variable:\n" +
			"--data-dir is data-dir and WEIR_DATA_DIR. SIGTERM hands the leadership over, then stops.",
		Example: "  weir server --name n1 --data-dir /var/lib/weir --tls-dir /etc/weir/tls --listen :7000 \\\n" +
			"    --advertise n1.example.org:7000 --bootstrap-expect 3 --join n2.example.org:7000,n3.example.org:7000",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := loadSettings(c.Flags(), os.Environ()); err != nil {
				return usageError("%w", err)
			}
			if err := cfg.Validate(); err != nil {
				return usageError("%w", err)
			}
			if check {
				e.say("the configuration is complete")
				return nil
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return scheduler.Run(ctx, cfg, cfg.NewLogger(e.stderr))
		},
	}
	cfg.AddFlags(c.Flags())
	addConfigFlag(c.Flags())
	c.Flags().BoolVar(&check, "check", false, "check the configuration and exit")
	return c
}
