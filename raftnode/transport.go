package raftnode

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// transport is Raft's own over the stream, and notes who answers.
type transport struct {
	*raft.NetworkTransport
	contacts *contacts
	beats    *beats
}

func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	beat := isHeartbeat(req)
	if beat {
		t.beats.wait(id)
	}
	err := t.NetworkTransport.AppendEntries(id, to, req, resp)
	if beat {
		t.beats.answered(id, err)
	}
	if err == nil && resp.Term <= req.Term {
		match := uint64(0)
		if resp.Success {
			match = req.PrevLogEntry + uint64(len(req.Entries))
		}
		t.contacts.heard(NodeID(id), match)
	}
	return err
}

// contacts is what a leader knows of its followers.
type contacts struct {
	mu    sync.Mutex
	peers map[NodeID]contact
}

type contact struct {
	at    time.Time
	match uint64 // the follower has the log up to here
}

func (c *contacts) heard(id NodeID, match uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peers == nil {
		c.peers = map[NodeID]contact{}
	}
	c.peers[id] = contact{at: time.Now(), match: max(match, c.peers[id].match)}
}

// of returns the zero contact for a peer that has not been heard in this term.
func (c *contacts) of(id NodeID) contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peers[id]
}

// forget begins a new term.
func (c *contacts) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.peers)
}
