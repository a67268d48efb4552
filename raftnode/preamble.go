package raftnode

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
)

// After the TLS handshake of a raft/1 connection the dialer says who it is, whom
// it means and what it wants, and the other side agrees or says why not. Both
// are JSON behind a length of two bytes.

// purpose is what a raft/1 connection is for.
type purpose string

const (
	forRaft  purpose = "raft"  // Raft's own messages follow
	forProbe purpose = "probe" // the answer comes when the other side's disk has written
	forClaim purpose = "claim" // an empty node is asked to be a first member of this cluster
)

type preamble struct {
	For     purpose   `json:"for"`
	Cluster ClusterID `json:"cluster"`
	ID      NodeID    `json:"id"`
	Name    string    `json:"name"`
	To      NodeID    `json:"to"`
	Timings *timings  `json:"timings,omitempty"`
}

type preambleReply struct {
	Cluster ClusterID `json:"cluster"`
	ID      NodeID    `json:"id"`
	Refused string    `json:"refused,omitempty"`
	Timings *timings  `json:"timings,omitempty"`
}

// severity of its refusal. Probes are refused for as long as a disk stalls, which
// is reported by itself.
func (p preamble) severity() hclog.Level {
	if p.For == forProbe {
		return hclog.Debug
	}
	return hclog.Warn
}

func writeFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// greet sends the preamble and returns when the other side has agreed, with what
// that says of itself.
func greet(conn io.ReadWriter, p preamble, to Peer) (reply preambleReply, err error) {
	if err := writeFrame(conn, p); err != nil {
		return reply, fmt.Errorf("greet %s: %w", to, err)
	}
	if err := readFrame(conn, &reply); err != nil {
		return reply, fmt.Errorf("greet %s: %w", to, err)
	}
	switch {
	case reply.Cluster != "" && p.Cluster != reply.Cluster && p.For != forClaim:
		return reply, fmt.Errorf("%s: %w: it belongs to cluster %s, this node to %s", to, ErrWrongCluster, reply.Cluster, p.Cluster)
	case reply.ID != p.To:
		return reply, fmt.Errorf("%s is now node %s, not %s: its data directory is another", to, reply.ID, p.To)
	case reply.Refused != "":
		return reply, fmt.Errorf("%s refuses: %s", to, reply.Refused)
	}
	return reply, nil
}
