package cli

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/proto/mtls"
)

const day = 24 * time.Hour

// The files of a node's TLS directory.
const (
	caFile      = "ca.pem"
	caKeyFile   = "ca-key.pem"
	nodeFile    = "node.pem"
	nodeKeyFile = "node-key.pem"
	gossipFile  = "gossip.key"
)

func newTLS(e *env) *cobra.Command {
	c := &cobra.Command{Use: "tls", Short: "Make the cluster's CA, gossip key and node certificates", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	ca := &cobra.Command{Use: "ca", Short: "The certificate authority", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	ca.AddCommand(newCACreate(e))
	cert := &cobra.Command{Use: "cert", Short: "Certificates of nodes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	cert.AddCommand(newCertCreate(e))
	c.AddCommand(ca, cert)
	return c
}

func newCACreate(e *env) *cobra.Command {
	dir, name, valid := "", "weir", 10*365*day
	c := &cobra.Command{
		Use: "create", Short: "Create the cluster's CA and gossip key: once, on a machine you trust",
		Long: "Writes " + caFile + ", " + caKeyFile + " and " + gossipFile + " to --dir. Nodes need the first and the last;\n" +
			caKeyFile + " signs certificates and is best kept off the nodes.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := createCA(dir, name, valid); err != nil {
				return err
			}
			_, err := fmt.Fprintf(e.stdout, "wrote %s, %s and %s to %s\nNext: weir tls cert create --dir %s --name NODE --host ADDRESS\n", caFile, caKeyFile, gossipFile, dir, dir)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "tls", "directory, made if it is not there")
	c.Flags().StringVar(&name, "name", name, "shown to people who look at the certificate")
	c.Flags().DurationVar(&valid, "valid", valid, "validity")
	return c
}

func createCA(dir, name string, valid time.Duration) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create TLS directory: %w", err)
	}
	ca, err := mtls.NewAuthority(name, valid)
	if err != nil {
		return err
	}
	if err := ca.Save(filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile)); err != nil {
		return err
	}
	key := make([]byte, 32)
	rand.Read(key)
	return mtls.CreateSecret(filepath.Join(dir, gossipFile), []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
}

func newCertCreate(e *env) *cobra.Command {
	dir, out := "", ""
	r := mtls.Request{Role: mtls.RoleNode, Valid: 365 * day}
	c := &cobra.Command{
		Use: "create", Short: "Create a node's certificate and key",
		Example: "  weir tls cert create --dir tls --name n1 --host n1.example.org --host 10.0.0.1",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				out = filepath.Join(dir, r.Name)
			}
			if err := createCert(dir, out, r); err != nil {
				return err
			}
			_, err := fmt.Fprintf(e.stdout, "wrote %s, %s and %s to %s: copy it to the node and name it with --tls-dir\n", nodeFile, nodeKeyFile, caFile, out)
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "tls", "directory of the CA")
	c.Flags().StringVar(&out, "out", "", "directory to write (DIR/NAME when not given)")
	c.Flags().StringVar(&r.Name, "name", "", "the node's name")
	c.Flags().StringArrayVar(&r.Hosts, "host", nil, "host name or IP address that others dial (as in --advertise), without port")
	c.Flags().DurationVar(&r.Valid, "valid", r.Valid, "validity")
	_ = c.MarkFlagRequired("name")
	_ = c.MarkFlagRequired("host")
	return c
}

func createCert(caDir, out string, r mtls.Request) error {
	ca, err := mtls.LoadAuthority(filepath.Join(caDir, caFile), filepath.Join(caDir, caKeyFile))
	if err != nil {
		return err
	}
	pair, err := ca.Issue(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("create TLS directory: %w", err)
	}
	if err := pair.Save(filepath.Join(out, nodeFile), filepath.Join(out, nodeKeyFile)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, caFile), ca.CertPEM(), 0o644); err != nil {
		return fmt.Errorf("write CA certificate: %w", err)
	}
	return nil
}
