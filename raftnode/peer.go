package raftnode

import (
	"fmt"
	"net"
	"strings"

	"github.com/hashicorp/raft"
)

// NodeID is a node's identity: a UUID made with its data directory, never used
// again when that is lost.
type NodeID string

// ClusterID is a UUID made when a cluster is.
type ClusterID string

// Peer is how one node names another: who it is and where to find it.
type Peer struct {
	ID      NodeID
	Name    string
	Address string // host:port
}

// raftAddress is how a peer is written in the Raft configuration, NAME@HOST:PORT/ID.
// It carries the name to every node and the identity to whoever dials, so that a
// node that lost its disk cannot be taken for what it was.
func (p Peer) raftAddress() raft.ServerAddress {
	return raft.ServerAddress(p.Name + "@" + p.Address + "/" + string(p.ID))
}

func (p Peer) String() string {
	if p.Name == "" {
		return p.Address
	}
	return p.Name + " (" + p.Address + ")"
}

func parsePeer(a raft.ServerAddress) (Peer, error) {
	name, rest, ok := strings.Cut(string(a), "@")
	address, id, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Peer{}, fmt.Errorf("raft address %q is not NAME@HOST:PORT/ID", a)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return Peer{}, fmt.Errorf("raft address %q: %w", a, err)
	}
	return Peer{ID: NodeID(id), Name: name, Address: address}, nil
}

// peerOf returns the peer that a server of the configuration is.
func peerOf(s raft.Server) Peer {
	p, err := parsePeer(s.Address)
	if err != nil {
		return Peer{ID: NodeID(s.ID), Name: string(s.ID), Address: string(s.Address)}
	}
	return p
}
