package cli

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

func newAdmin(e *env) *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "Make the cluster's first admin capability", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newAdminInit(e))
	return c
}

type adminInitOptions struct {
	tlsDir string
	nodes  []string
	file   string
	wait   time.Duration
}

func newAdminInit(e *env) *cobra.Command {
	var o adminInitOptions
	c := &cobra.Command{
		Use: "init", Short: "Write the first admin capability; works once, with a node's certificate",
		Example: "  weir admin init --tls-dir /etc/weir/tls --node n1.example.org:7000",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runAdminInit(c, e, o) },
	}
	c.Flags().StringVar(&o.tlsDir, "tls-dir", "", "directory with a node's "+nodeFile+", "+nodeKeyFile+" and "+caFile)
	c.Flags().StringArrayVar(&o.nodes, "node", nil, "address of a node (give several to be sure)")
	c.Flags().StringVar(&o.file, "file", "admin.cap", "new file to write, mode 0600")
	c.Flags().DurationVar(&o.wait, "wait", client.DefaultPatience, "how long to wait for a cluster that is just starting")
	_ = c.MarkFlagRequired("tls-dir")
	_ = c.MarkFlagRequired("node")
	return c
}

func runAdminInit(c *cobra.Command, e *env, o adminInitOptions) error {
	node, err := mtls.LoadNode(mtls.Files{
		Cert: filepath.Join(o.tlsDir, nodeFile), Key: filepath.Join(o.tlsDir, nodeKeyFile), CA: filepath.Join(o.tlsDir, caFile),
	}, nil)
	if err != nil {
		return usageError("load the node certificate: %w", err)
	}
	cl, err := client.NewWithCredentials(o.nodes, node.Dialing(), client.Options{
		Agent: "weir/" + Version, Patience: o.wait, Notice: func(line string) { e.say("%s", line) },
	})
	if err != nil {
		return err
	}
	defer cl.Close()
	return e.mint(o.file, func(hash []byte) (*pb.NewCapability, error) {
		return cl.Admin().AdminInit(c.Context(), &pb.AdminInitRequest{TokenSha256: hash})
	})
}
