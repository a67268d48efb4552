package raftnode

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Machine is the replicated state. The node calls it from one goroutine at a
// time, holding its lock: for writing, except in Snapshot.
type Machine interface {
	// Apply executes the commands of one log entry and returns one result for
	// each, by position. It is never called without commands. The slices belong
	// to the log: neither they nor parts of them may be kept.
	Apply(index uint64, commands [][]byte) []any
	// Snapshot returns the state as it is now, in constant time: later calls of
	// Apply must not show in it.
	Snapshot() Snapshot
	// Restore replaces the state by what a Snapshot wrote.
	Restore(r io.Reader) error
}

// Snapshot is the state at one moment. It is written in the background while
// commands go on being applied.
type Snapshot interface {
	WriteTo(w io.Writer) (int64, error)
	// Release is called once, after the last WriteTo.
	Release()
}

// Profile is how patient the members of a cluster are with each other. All
// nodes of a cluster must use the same one.
type Profile struct {
	Name      string
	Heartbeat time.Duration // silence of the leader before a follower stands for election
	Election  time.Duration // how long a candidate waits for votes
	Lease     time.Duration // a leader that reaches no majority for so long gives up
	RPC       time.Duration // longest wait for one answer of another node
}

// The profiles: for nodes in one site, the safe choice, and for nodes tens of
// milliseconds apart.
var (
	Local   = Profile{"local", 200 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond, time.Second}
	Default = Profile{"default", 500 * time.Millisecond, 500 * time.Millisecond, 250 * time.Millisecond, 3 * time.Second}
	WAN     = Profile{"wan", 1500 * time.Millisecond, 1500 * time.Millisecond, 750 * time.Millisecond, 10 * time.Second}
)

// ProfileByName returns the profile called local, default or wan.
func ProfileByName(name string) (Profile, error) {
	for _, p := range []Profile{Local, Default, WAN} {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("unknown profile %q: use local, default or wan", name)
}

// The log stores.
const (
	Bolt = "bolt"
	WAL  = "wal"
)

// MaxCommand is the largest command that can be proposed, in bytes.
const MaxCommand = 1 << 20

// Config says who a node is and how it runs. Zero values mean the default.
type Config struct {
	DataDir   string // made if missing; belongs to one node
	Name      string // the name in the node's certificate
	Advertise string // host:port at which the other nodes reach the mux

	BootstrapExpect int      // size of the cluster to make when every Join address is empty; 0: never make one
	Join            []string // host:port of nodes to ask for a cluster; may contain this node's own

	Profile  Profile
	LogStore string // Bolt (default) or WAL

	Raft    net.Listener                      // connections of the raft/1 protocol: Mux.Raft
	DialTLS func(protocol string) *tls.Config // presents this node's certificate and demands a node's
	Dial    DialFunc                          // opens TCP connections; nil: net.Dialer

	// SnapshotEntries and SnapshotBytes are how much log makes a snapshot due:
	// 20,000 entries (SnapshotEntries) or 64 MiB, whichever is first. Nodes take turns.
	SnapshotEntries uint64
	SnapshotBytes   uint64
	// SnapshotRate bounds the writing of a snapshot in bytes per second, so that
	// it leaves the disk to the log: 32 MiB.
	SnapshotRate int64
	// TrailingLogs is how many entries stay after a snapshot for followers that
	// lag: 10,240, fewer when they are large.
	TrailingLogs uint64

	StoreDeadline  time.Duration // a log write that takes longer is a stall: 2 s
	ProposeTimeout time.Duration // longest wait for the outcome of a proposal: 10 s
	Faults         *Faults       // disk faults, for tests; nil: none
	walSegment     int           // for tests

	// ApplyObserver is called after each applied entry, in order, outside the
	// lock, on every node. It must not block, nor keep results.
	ApplyObserver func(index uint64, results []any)
	// Audit is told of connections that were refused for what they are.
	Audit func(remote, what string)

	GossipKeyFile string   // 32 bytes in base64, mode 0600; empty: no gossip
	GossipListen  string   // host:port, TCP and UDP; empty: the host of Advertise, port 7946
	GossipJoin    []string // host:port of other nodes' gossip; empty: the hosts of Join, at this node's port

	Version    string // announced to the others
	Logger     hclog.Logger
	Registerer prometheus.Registerer
}

// SnapshotEntries is how many entries make a snapshot due unless Config says so.
const SnapshotEntries = 20_000

// DialFunc opens a connection, as net.Dialer's DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (c *Config) validate() error {
	switch {
	case c.DataDir == "":
		return errors.New("no data directory is given")
	case !validName.MatchString(c.Name):
		return fmt.Errorf("name %q: use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit", c.Name)
	case c.Raft == nil || c.DialTLS == nil:
		return errors.New("the raft listener and the TLS configuration for dialing are needed")
	case c.BootstrapExpect < 0:
		return fmt.Errorf("bootstrap-expect is %d: it is the number of nodes to begin with", c.BootstrapExpect)
	}
	if err := checkHostPort(c.Advertise); err != nil {
		return fmt.Errorf("advertise address: %w", err)
	}
	for _, a := range c.Join {
		if err := checkHostPort(a); err != nil {
			return fmt.Errorf("join address: %w", err)
		}
	}
	c.setDefaults()
	if c.LogStore != Bolt && c.LogStore != WAL {
		return fmt.Errorf("unknown log store %q: use %s or %s", c.LogStore, Bolt, WAL)
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.Profile.Heartbeat == 0 {
		c.Profile = Default
	}
	c.LogStore = cmp.Or(c.LogStore, Bolt)
	c.SnapshotEntries = cmp.Or(c.SnapshotEntries, SnapshotEntries)
	c.SnapshotBytes = cmp.Or(c.SnapshotBytes, 64<<20)
	c.SnapshotRate = cmp.Or(c.SnapshotRate, 32<<20)
	c.TrailingLogs = cmp.Or(c.TrailingLogs, 10_240)
	c.StoreDeadline = cmp.Or(c.StoreDeadline, 2*time.Second)
	c.ProposeTimeout = cmp.Or(c.ProposeTimeout, 10*time.Second)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.ApplyObserver == nil {
		c.ApplyObserver = func(uint64, []any) {}
	}
	if c.Audit == nil {
		c.Audit = func(string, string) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

// checkHostPort refuses addresses that other nodes cannot dial.
func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not host:port: %w", address, err)
	}
	if host == "" || port == "" || port == "0" {
		return fmt.Errorf("%q needs a host and a port that other nodes can dial", address)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%q is every address of a machine: give the one that other nodes dial", address)
	}
	return nil
}
