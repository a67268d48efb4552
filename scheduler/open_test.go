package scheduler

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/mtls"
)

// tlsDir has a certificate of node n1.
func tlsDir(t *testing.T, r mtls.Request) string {
	t.Helper()
	ca, err := mtls.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r.Role, r.Name, r.Hosts = mtls.RoleNode, "n1", []string{"127.0.0.1"}
	pair, err := ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := pair.Save(filepath.Join(dir, certFile), filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, caFile), ca.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// alone configures a node that is a cluster of its own.
func alone(t *testing.T) Config {
	t.Helper()
	c := Default()
	c.DataDir, c.TLSDir, c.BootstrapExpect = filepath.Join(t.TempDir(), "data"), tlsDir(t, mtls.Request{Valid: time.Hour}), 1
	c.Listen, c.HTTPListen, c.Advertise = "127.0.0.1:0", "", "127.0.0.1:7000"
	return c
}

// A node that cannot start says why, and leaves its port and its directory to
// the next try.
func TestOpenFails(t *testing.T) {
	dir, good := t.TempDir(), alone(t)
	expired := tlsDir(t, mtls.Request{NotBefore: time.Now().Add(-2 * time.Hour), Valid: time.Hour})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"expired certificate": {func(c *Config) { c.TLSDir = expired }, "has expired"},
		"another's name":      {func(c *Config) { c.Name = "n2" }, "its certificate is for node"},
		"taken port":          {func(c *Config) { c.Listen = taken.Addr().String() }, "address already in use"},
		"taken HTTP port":     {func(c *Config) { c.HTTPListen = taken.Addr().String() }, "address already in use"},
		"no directory":        {func(c *Config) { c.DataDir = file }, "data directory"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			s, err := Open(cfg, hclog.NewNullLogger(), Hooks{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("have %v, want %q", err, c.says)
			}
			if s != nil {
				t.Error("there is a server all the same")
			}
		})
	}
	s, err := Open(good, hclog.NewNullLogger(), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
