package scheduler

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/raftnode"
)

// Config is everything that one node may be told.
type Config struct {
	// Required.
	DataDir string
	TLSDir  string

	// Who and where the node is.
	Name       string // empty: the name in its certificate
	Listen     string
	Advertise  string // empty: Listen, when that names a host
	HTTPListen string // empty: none

	// First boot only.
	BootstrapExpect int
	Join            []string
	GossipKeyFile   string
	GossipListen    string

	// Tuning.
	Profile   string
	LogStore  string
	LogBudget bytesize.Size
	LogLevel  string
	LogJSON   bool

	SnapshotEntries uint64

	Version string // announced to the other nodes; not a flag
}

// The files of a TLS directory.
const (
	caFile   = "ca.pem"
	certFile = "node.pem"
	keyFile  = "node-key.pem"
)

// Default returns the configuration that flags start from.
func Default() Config {
	return Config{
		Listen:     ":7000",
		HTTPListen: "127.0.0.1:7001",
		Profile:    raftnode.Default.Name,
		LogStore:   raftnode.Bolt,
		LogBudget:  20 << 30,
		LogLevel:   "info",

		SnapshotEntries: raftnode.SnapshotEntries,
	}
}

// AddFlags adds a flag for each field. A configuration file and the environment
// use the same names.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory of the node's state, made if it is not there (required)")
	fs.StringVar(&c.TLSDir, "tls-dir", c.TLSDir, "directory with "+caFile+", "+certFile+" and "+keyFile+", as weir tls cert create writes it (required)")

	fs.StringVar(&c.Name, "name", c.Name, "the node's name (default: the one in its certificate)")
	fs.StringVar(&c.Listen, "listen", c.Listen, "address of the one port for clients, workers and other nodes")
	fs.StringVar(&c.Advertise, "advertise", c.Advertise, "host:port at which all of those reach this node (default: --listen, when it names a host)")
	fs.StringVar(&c.HTTPListen, "http-listen", c.HTTPListen, "address of HTTPS /metrics, /healthz and /readyz; empty: none")

	fs.IntVar(&c.BootstrapExpect, "bootstrap-expect", c.BootstrapExpect, "first boot: make a new cluster once so many nodes, all of them empty, have met: 1, 3 or 5, since an even number survives no more losses than one fewer; 0: only join one")
	fs.StringSliceVar(&c.Join, "join", c.Join, "first boot: host:port of the other nodes; repeat it or separate by commas")
	fs.StringVar(&c.GossipKeyFile, "gossip-key-file", c.GossipKeyFile, "find the other nodes by gossip too, with the key that weir tls ca create wrote")
	fs.StringVar(&c.GossipListen, "gossip-listen", c.GossipListen, "host:port for gossip, TCP and UDP (default: the advertised host, port 7946)")

	fs.StringVar(&c.Profile, "profile", c.Profile, "how patient nodes are with each other: local, default or wan; the same on all nodes (a new node with another one is refused; change it on one node after the other)")
	fs.StringVar(&c.LogStore, "log-store", c.LogStore, "store of the Raft log: bolt or wal; cannot be changed later")
	fs.Var(&c.LogBudget, "log-budget", "disk space for build logs; the oldest complete ones go first")
	fs.Uint64Var(&c.SnapshotEntries, "snapshot-entries", c.SnapshotEntries, "entries of the Raft log after which a node writes a snapshot; the same on all nodes, which then take turns")
	fs.StringVar(&c.LogLevel, "log-level", c.LogLevel, "trace, debug, info, warn or error")
	fs.BoolVar(&c.LogJSON, "log-json", c.LogJSON, "log JSON, one object a line")
}

// Validate lists all that is wrong, each with what to do about it.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		bad("--data-dir is missing: name a directory on a local disk")
	}
	c.checkTLS(bad)
	c.checkAddresses(bad)
	c.checkFirstBoot(bad)
	if _, err := raftnode.ProfileByName(c.Profile); err != nil {
		bad("--profile: %w", err)
	}
	if c.LogStore != raftnode.Bolt && c.LogStore != raftnode.WAL {
		bad("--log-store %q is unknown: use %s or %s", c.LogStore, raftnode.Bolt, raftnode.WAL)
	}
	if c.LogBudget < minLogBudget {
		bad("--log-budget %v is too small: at least %v", c.LogBudget, bytesize.Size(minLogBudget))
	}
	if c.SnapshotEntries < minSnapshotEntries {
		bad("--snapshot-entries %d is too small: at least %d", c.SnapshotEntries, minSnapshotEntries)
	}
	if hclog.LevelFromString(c.LogLevel) == hclog.NoLevel {
		bad("--log-level %q is unknown: use trace, debug, info, warn or error", c.LogLevel)
	}
	return errors.Join(errs...)
}

const (
	minLogBudget       = 256 << 20
	minSnapshotEntries = 16
)

type problem func(format string, args ...any)

func (c *Config) checkTLS(bad problem) {
	if c.TLSDir == "" {
		bad("--tls-dir is missing: make one with 'weir tls cert create'")
		return
	}
	for _, name := range []string{caFile, certFile, keyFile} {
		if _, err := os.Stat(filepath.Join(c.TLSDir, name)); err != nil {
			bad("--tls-dir: %w (weir tls cert create writes it)", err)
		}
	}
}

func (c *Config) checkAddresses(bad problem) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		bad("--listen %q is not host:port or :port: %w", c.Listen, err)
	}
	switch {
	case c.Advertise != "":
		if !dialable(c.Advertise) {
			bad("--advertise %q: give the host:port that clients, workers and nodes dial", c.Advertise)
		}
	case err == nil && (host == "" || unspecified(host)):
		bad("--advertise is missing, and --listen %s names no host: give the host:port that clients, workers and nodes dial", c.Listen)
	}
	if c.HTTPListen != "" {
		if _, _, err := net.SplitHostPort(c.HTTPListen); err != nil {
			bad("--http-listen %q is not host:port or :port: %w", c.HTTPListen, err)
		}
	}
}

func (c *Config) checkFirstBoot(bad problem) {
	for _, a := range c.Join {
		if !dialable(a) {
			bad("--join %q: give the host:port that another node advertises", a)
		}
	}
	if c.BootstrapExpect < 0 {
		bad("--bootstrap-expect %d: give the number of nodes to begin with, usually 3", c.BootstrapExpect)
	}
	if c.BootstrapExpect > 1 && len(c.Join) == 0 && c.GossipKeyFile == "" {
		bad("--bootstrap-expect %d without --join or --gossip-key-file: the node would wait for ever; name the other nodes", c.BootstrapExpect)
	}
	if c.BootstrapExpect == 0 && len(c.Join) == 0 && c.GossipKeyFile == "" && !c.hasState() {
		bad("the node knows neither a cluster nor its size: give --join to join one, or --bootstrap-expect to make one")
	}
}

// hasState says whether the data directory was in use before.
func (c *Config) hasState() bool {
	entries, err := os.ReadDir(c.DataDir)
	return err == nil && len(entries) > 0
}

// advertised is the address that other machines dial.
func (c *Config) advertised() string {
	if c.Advertise != "" {
		return c.Advertise
	}
	return c.Listen
}

func dialable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return err == nil && host != "" && port != "" && port != "0" && !unspecified(host)
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// NewLogger returns the logger that the configuration asks for.
func (c *Config) NewLogger(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "weir", Level: hclog.LevelFromString(c.LogLevel), JSONFormat: c.LogJSON, Output: w,
		TimeFormat:        "2006-01-02T15:04:05.000Z07:00",
		IndependentLevels: true, // the audit's is its own
	})
}
