package raftnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// gossip finds nodes beside the static list, and knows who is alive when there is
// no leader to ask. It decides nothing: a node that it finds is asked for its
// cluster like any other.
type gossip struct {
	self    Peer
	version string
	seeds   []string
	log     hclog.Logger
	list    *memberlist.Memberlist

	mu   sync.Mutex
	seen map[NodeID]gossiped
}

// gossiped is what is known of one node.
type gossiped struct {
	Peer    Peer
	Version string
	gone    bool
}

const gossipPort = 7946

func (n *Node) startGossip() (*gossip, error) {
	g := &gossip{self: n.self, version: n.config.Version, log: n.log.Named("gossip"), seen: map[NodeID]gossiped{}}
	c, err := g.configure(&n.config)
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	if g.list, err = memberlist.Create(c); err != nil {
		return nil, fmt.Errorf("start gossip on %s:%d: %w", c.BindAddr, c.BindPort, err)
	}
	n.gossip.Store(g)
	return g, nil
}

func (g *gossip) configure(config *Config) (*memberlist.Config, error) {
	key, err := ReadGossipKey(config.GossipKeyFile)
	if err != nil {
		return nil, err
	}
	host, port, err := gossipAddress(config)
	if err != nil {
		return nil, err
	}
	advertise, err := resolve(config.Advertise)
	if err != nil {
		return nil, err
	}
	g.seeds = config.GossipJoin
	if len(g.seeds) == 0 { // the same port on the machines of the static list
		for _, a := range config.Join {
			h, _, _ := net.SplitHostPort(a)
			g.seeds = append(g.seeds, net.JoinHostPort(h, strconv.Itoa(port)))
		}
	}
	c := memberlist.DefaultLANConfig()
	if config.Profile.Name == WAN.Name {
		c = memberlist.DefaultWANConfig()
	}
	c.Name = string(g.self.ID)
	c.BindAddr, c.BindPort = host, port
	c.AdvertiseAddr, c.AdvertisePort = advertise, port
	c.SecretKey = key
	c.Delegate, c.Events = g, g
	c.MsgpackUseNewTimeFormat = true
	c.Logger = g.log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	return c, nil
}

func gossipAddress(config *Config) (host string, port int, err error) {
	if config.GossipListen == "" {
		host, _, err = net.SplitHostPort(config.Advertise)
		return host, gossipPort, err
	}
	host, p, err := net.SplitHostPort(config.GossipListen)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q is not host:port: %w", config.GossipListen, err)
	}
	if port, err = strconv.Atoi(p); err != nil {
		return "", 0, fmt.Errorf("gossip address %q: the port is not a number", config.GossipListen)
	}
	return host, port, nil
}

// resolve returns the IP of an address: gossip speaks no names.
func resolve(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", fmt.Errorf("find the address of %s: %w", host, err)
	}
	return ip.String(), nil
}

// rejoinEvery is how often a node that sees nobody tries the seeds.
const rejoinEvery = time.Second

// run joins the others whenever this node sees none of them.
func (g *gossip) run(ctx context.Context) {
	every := time.NewTicker(rejoinEvery)
	defer every.Stop()
	for {
		if len(g.seeds) > 0 && g.list.NumMembers() < 2 {
			if _, err := g.list.Join(g.seeds); err != nil {
				g.log.Debug("nobody found yet", "error", err)
			}
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

func (g *gossip) stop() {
	err := errors.Join(g.list.Leave(time.Second), g.list.Shutdown())
	if err != nil {
		g.log.Debug("gossip stopped", "error", err)
	}
}

// peers returns the others that are not gone.
func (g *gossip) peers() []Peer {
	g.mu.Lock()
	defer g.mu.Unlock()
	var peers []Peer
	for id, s := range g.seen {
		if id != g.self.ID && !s.gone {
			peers = append(peers, s.Peer)
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return peers
}

// health is what gossip knows of a node; empty: nothing.
func (g *gossip) health(id NodeID) Health {
	for _, m := range g.list.Members() { // the dead are not among them
		if NodeID(m.Name) != id {
			continue
		}
		if m.State == memberlist.StateSuspect {
			return Suspect
		}
		return Healthy
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s, known := g.seen[id]; known && s.gone {
		return Silent
	}
	return ""
}

// What memberlist asks of its user.

// NodeMeta is what the others learn of this node.
func (g *gossip) NodeMeta(limit int) []byte {
	meta, err := json.Marshal(gossiped{Peer: g.self, Version: g.version})
	if err != nil || len(meta) > limit {
		return nil
	}
	return meta
}

// NotifyJoin is called when a node is seen.
func (g *gossip) NotifyJoin(m *memberlist.Node) { g.note(m, false) }

// NotifyUpdate is called when what a node tells of itself has changed.
func (g *gossip) NotifyUpdate(m *memberlist.Node) { g.note(m, false) }

// NotifyLeave is called when a node has left or is held for dead.
func (g *gossip) NotifyLeave(m *memberlist.Node) { g.note(m, true) }

func (g *gossip) note(m *memberlist.Node, gone bool) {
	var s gossiped
	if err := json.Unmarshal(m.Meta, &s); err != nil || s.Peer.ID != NodeID(m.Name) {
		g.log.Debug("a node that says nothing of itself", "node", m.Name, "error", err)
		return
	}
	s.gone = gone
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[s.Peer.ID] = s
}

// NotifyMsg is for messages; there are none.
func (g *gossip) NotifyMsg([]byte) {}

// GetBroadcasts is for messages; there are none.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is for more state; there is none.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState is for more state; there is none.
func (g *gossip) MergeRemoteState([]byte, bool) {}
