package cli

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

func newWorkerExec(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "exec POOL -- CMD [ARG...]", Short: "Run a local command for each worker of a pool; {} is its name",
		Long: "Run a command on this machine for each worker that is registered in a pool, one after the other. {} in its\n" +
			"arguments is the worker's name. One that fails does not keep the others from theirs; the exit code is 7 then.",
		Example: "  weir worker exec linux -- ssh {} uname -r",
		Args:    cobra.MinimumNArgs(2), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error {
			var names []string
			err := e.with(func(cl *client.Client) error {
				list, err := cl.Admin().ListWorkers(c.Context(), &pb.ListWorkersRequest{Pool: args[0]})
				for _, w := range list.GetWorkers() {
					names = append(names, w.Name)
				}
				return err
			})
			if err != nil {
				return err
			}
			return e.execEach(c.Context(), names, args[1:])
		},
	}
	e.addClientFlags(c)
	return c
}

// execEach runs a command for each name.
func (e *env) execEach(ctx context.Context, names, argv []string) error {
	var failed []string
	for _, name := range names {
		own := make([]string, len(argv))
		for i, arg := range argv {
			own[i] = strings.ReplaceAll(arg, "{}", name)
		}
		cmd := exec.CommandContext(ctx, own[0], own[1:]...)
		cmd.Stdout, cmd.Stderr = e.stdout, e.stderr
		if err := cmd.Run(); err != nil {
			e.say("%s: %v", name, err)
			failed = append(failed, name)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%s failed for %d of %d workers: %s", argv[0], len(failed), len(names), strings.Join(failed, ", "))
	}
	return nil
}
