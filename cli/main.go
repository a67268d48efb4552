// Package cli is the weir command line: one file for each command. It promises
// that every command answers in bounded time, that an error ends with the next
// thing to try, and that what it prints for programs (-o json, exit codes)
// stays as documented. It refuses to hold logic that another layer should own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
)

// Version is set by the build.
var Version = "dev"

// capabilityEnv is where a capability is looked for without --connect.
const capabilityEnv = "WEIR_CAPABILITY"

// env is what a command sees of the world; tests give their own.
type env struct {
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	now     func() time.Time
	connect string
	output  string
	stale   bool
	began   bool // the command line was right
}

// Main runs one command and returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now}
	root := newRoot(e)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	if err != nil && !e.began {
		err = wrongCommandLine(c, err)
	}
	if err != nil {
		report(stderr, err)
	}
	return exitCode(err)
}

// wrongCommandLine is the error of a command that did not even begin.
func wrongCommandLine(c *cobra.Command, err error) error {
	var coded *codedError
	if errors.As(err, &coded) {
		return err
	}
	return usageError("%w; see `%s --help`", err, c.CommandPath())
}

// noteBeginning makes every command note that its line was right.
func (e *env) noteBeginning(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			e.began = true
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		e.noteBeginning(sub)
	}
}

func report(w io.Writer, err error) {
	var quiet *quietError
	if errors.As(err, &quiet) {
		return
	}
	fmt.Fprintf(w, "weir: %s\n", message(err))
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A highly available build cluster",
		Long: "weir runs builds on a cluster that goes on when any of its machines dies.\n\n" +
			"Start with `weir dev`: three nodes, two workers and a build on this machine.\n\n" + exitHelp,
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("weir {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError("%w; see `%s --help`", err, c.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "build", Title: "Builds:"},
		&cobra.Group{ID: "operate", Title: "Operating a cluster:"},
		&cobra.Group{ID: "daemon", Title: "Daemons:"},
	)
	add(root, "build", newSubmit(e), newJobs(e), newJob(e), newLogs(e), newOBuilder(e))
	add(root, "operate", newStatus(e), newTop(e), newRaft(e), newPool(e), newClient(e), newCap(e), newAdmin(e), newTLS(e), newAudit(e), newEvents(e), newSim(e))
	add(root, "daemon", newServer(e), newWorker(e), newDev(e), newBench(e))
	e.noteBeginning(root)
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// addClientFlags gives a command the flags of everything that talks to a cluster.
func (e *env) addClientFlags(c *cobra.Command) {
	c.PersistentFlags().StringVar(&e.connect, "connect", "",
		"capability: a file, or the line itself ($"+capabilityEnv+" when not given)")
}

func (e *env) addOutputFlag(c *cobra.Command) {
	c.Flags().StringVarP(&e.output, "output", "o", "text", "text or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (e *env) addStaleFlag(c *cobra.Command) {
	c.Flags().BoolVar(&e.stale, "stale", false, "answer from one node's own state, also without a quorum")
}

// client makes a client of the cluster the caller named.
func (e *env) client(o client.Options) (*client.Client, error) {
	c, err := e.capability()
	if err != nil {
		return nil, err
	}
	o.Agent = "weir/" + Version
	return client.New(c, o)
}

// with runs f with a client of the cluster.
func (e *env) with(f func(*client.Client) error) error {
	c, err := e.client(client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// printer renders answers as the caller asked.
func (e *env) printer() (ui.Printer, error) {
	switch e.output {
	case "", "text":
		return ui.Text{W: e.stdout, Now: e.now()}, nil
	case "json":
		return ui.JSON{W: e.stdout}, nil
	}
	return nil, usageError("unknown output %q: use text or json", e.output)
}
