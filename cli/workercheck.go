package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/workerd"
	"github.com/weirbuild/weir/workerd/docker"
	"github.com/weirbuild/weir/workerd/machine"
)

func newWorkerCheck(e *env) *cobra.Command {
	c := machine.Config{Dir: "/var/lib/weir-worker", BuildkitAddr: docker.DefaultBuildkitAddr, MinFree: workerd.Default().MinFree}
	cmd := &cobra.Command{
		Use:   "check [KIND...]",
		Short: "Tell what this machine can run, and how to mend what is missing",
		Long: "Tell what this machine can run as a worker (command, custom, sandbox, obuilder and docker jobs), and how to\n" +
			"mend what is missing. It tries the real parts, as the user who calls it, and leaves nothing behind.\n\n" +
			"Exit codes: 0 the kinds of job that are named can be run, or all where none is; 1 some cannot; 2 unknown kind.",
		Example: "  weir worker check\n" +
			"  weir worker check sandbox obuilder --state-dir /srv/weir",
		RunE: func(cmd *cobra.Command, kinds []string) error {
			report, err := machine.Check(cmd.Context(), c)
			if err != nil {
				return err
			}
			return tellMachine(e.stdout, report, kinds)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Dir, "state-dir", c.Dir, "where the worker would keep its state: that disk is looked at")
	f.StringVar(&c.BuildkitAddr, "buildkit-addr", c.BuildkitAddr, "where buildkitd listens")
	f.Var((*bytesize.Size)(&c.MinFree), "min-free", "how much of the disk must be free")
	return cmd
}

// tellMachine prints the report, and fails when a kind that is asked for cannot be
// run.
func tellMachine(w io.Writer, r *machine.Report, asked []string) error {
	for _, name := range asked {
		if !slices.ContainsFunc(r.Kinds, func(k machine.Kind) bool { return k.Name == name }) {
			return usageError("unknown kind of job %q: use command, custom, sandbox, obuilder or docker", name)
		}
	}
	for _, p := range r.Parts {
		if p.OK {
			fmt.Fprintf(w, "%-10s ok       %s\n", p.Name, ui.Clean(p.Says))
			continue
		}
		fmt.Fprintf(w, "%-10s lacking  %s\n%-10s to mend: %s\n", p.Name, ui.Clean(p.Says), "", p.Mend)
	}
	fmt.Fprintln(w)
	var cannot []string
	for _, k := range r.Kinds {
		if len(k.Missing) == 0 {
			fmt.Fprintf(w, "%-10s jobs can be run\n", k.Name)
			continue
		}
		fmt.Fprintf(w, "%-10s jobs cannot be run without %s\n", k.Name, strings.Join(k.Missing, ", "))
		if len(asked) == 0 || slices.Contains(asked, k.Name) {
			cannot = append(cannot, k.Name)
		}
	}
	if len(cannot) > 0 {
		return &codedError{exitBuildFailed, &quietError{fmt.Errorf("cannot run %s", strings.Join(cannot, ", "))}}
	}
	return nil
}
