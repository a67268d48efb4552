package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Member is one server of the cluster's configuration.
type Member struct {
	Peer
	Voter   bool
	Leader  bool
	Health  Health        // as the leader has seen, elsewhere as gossip says; empty: not known
	Contact time.Duration // since it answered this leader; negative: unknown or never
	Match   uint64        // its log is the leader's up to here; 0: unknown
}

// Health is whether a member works.
type Health string

// The states of health.
const (
	Healthy    Health = "ok"
	CatchingUp Health = "catching up"
	Suspect    Health = "suspect" // by gossip: it may be dead
	Silent     Health = "silent"
)

// changePatience bounds one change of the configuration.
const changePatience = 10 * time.Second

// caughtUp is how many entries behind the leader a node may be to become a voter.
const caughtUp = 64

// Members returns the latest configuration that this node knows. Health, contact
// and match are known to the leader only.
func (n *Node) Members() []Member {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	_, leader := r.LeaderWithID()
	leading, gossip := r.State() == raft.Leader, n.gossip.Load()
	var members []Member
	for _, s := range servers(r) {
		m := Member{Peer: peerOf(s), Voter: s.Suffrage == raft.Voter, Leader: s.ID == leader, Contact: -1}
		if leading {
			n.addContact(&m, r.CommitIndex())
		} else if gossip != nil {
			m.Health = gossip.health(m.ID)
		}
		members = append(members, m)
	}
	return members
}

func (n *Node) addContact(m *Member, commit uint64) {
	if m.ID == n.self.ID {
		m.Contact, m.Match, m.Health = 0, commit, Healthy
		return
	}
	c := n.contacts.of(m.ID)
	m.Match, m.Health = c.match, Silent
	if !c.at.IsZero() {
		m.Contact = time.Since(c.at)
	}
	switch {
	case !n.alive(m.ID):
	case c.match+caughtUp < commit:
		m.Health = CatchingUp
	default:
		m.Health = Healthy
	}
}

// alive says whether a follower has answered this leader lately.
func (n *Node) alive(id NodeID) bool {
	return id == n.self.ID || time.Since(n.contacts.of(id).at) < max(time.Second, 2*n.config.Profile.Heartbeat)
}

func servers(r *raft.Raft) []raft.Server { return r.GetConfiguration().Configuration().Servers }

func (n *Node) otherVoters() []Peer {
	var peers []Peer
	if r := n.raft.Load(); r != nil {
		for _, s := range servers(r) {
			if s.Suffrage == raft.Voter && s.ID != raft.ServerID(n.self.ID) {
				peers = append(peers, peerOf(s))
			}
		}
	}
	return peers
}

// find returns the member with that id or name.
func (n *Node) find(idOrName string) (Member, error) {
	for _, m := range n.Members() {
		if string(m.ID) == idOrName || m.Name == idOrName {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("%w: %q", ErrNoMember, idOrName)
}

// change runs one membership change. what sees the configuration that it
// changes, and its index: Raft refuses the change when that is no longer the
// latest.
func (n *Node) change(ctx context.Context, what func(r *raft.Raft, now []raft.Server, index uint64) (raft.IndexFuture, error)) error {
	if n.office.Load() == nil {
		return ErrNotLeader
	}
	select {
	case <-n.changing:
		defer func() { n.changing <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r := n.raft.Load()
	c := r.GetConfiguration()
	future, err := what(r, c.Configuration().Servers, c.Index())
	if err != nil || future == nil {
		return err
	}
	err = n.await(ctx, changePatience, future)
	if errors.Is(err, raft.ErrNotLeader) {
		return ErrNotLeader
	}
	return err
}

// AddNonvoter adds a member that receives the log and does not vote, or changes
// a member's address.
func (n *Node) AddNonvoter(ctx context.Context, p Peer) error {
	return n.change(ctx, func(r *raft.Raft, now []raft.Server, index uint64) (raft.IndexFuture, error) {
		for _, s := range now {
			if other := peerOf(s); other.ID != p.ID && (other.Name == p.Name || other.Address == p.Address) {
				return nil, fmt.Errorf("%w: %s has that name or address: remove it first", ErrRefused, other)
			}
		}
		return r.AddNonvoter(raft.ServerID(p.ID), p.raftAddress(), index, changePatience), nil
	})
}

// Promote makes a member a voter. It refuses one that has not caught up.
func (n *Node) Promote(ctx context.Context, id NodeID) error {
	return n.change(ctx, func(r *raft.Raft, now []raft.Server, index uint64) (raft.IndexFuture, error) {
		for _, s := range now {
			if s.ID != raft.ServerID(id) {
				continue
			}
			if s.Suffrage == raft.Voter {
				return nil, nil
			}
			if behind := int64(r.CommitIndex()) - int64(n.contacts.of(id).match); !n.alive(id) || behind > caughtUp {
				return nil, fmt.Errorf("%w: %s is %d entries behind", ErrRefused, peerOf(s), behind)
			}
			return r.AddVoter(s.ID, s.Address, index, changePatience), nil
		}
		return nil, fmt.Errorf("%w: %s", ErrNoMember, id)
	})
}

// Remove takes a member out. It refuses when the voters that remain would have
// no majority that answers; and, without force, when a voter that works is the
// spare one.
func (n *Node) Remove(ctx context.Context, idOrName string, force bool) error {
	m, err := n.find(idOrName)
	if err != nil {
		return err
	}
	return n.change(ctx, func(r *raft.Raft, now []raft.Server, index uint64) (raft.IndexFuture, error) {
		if err := n.mayRemove(now, m, force); err != nil {
			return nil, err
		}
		n.log.Info("removing a member", "member", m.Peer, "id", m.ID, "force", force)
		return r.RemoveServer(raft.ServerID(m.ID), index, changePatience), nil
	})
}

func (n *Node) mayRemove(now []raft.Server, m Member, force bool) error {
	voters, live := 0, 0
	for _, s := range now {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(m.ID) {
			voters++
			if n.alive(NodeID(s.ID)) {
				live++
			}
		}
	}
	majority := voters/2 + 1
	switch {
	case !m.Voter:
		return nil
	case voters == 0:
		return fmt.Errorf("%w: %s is the only voter", ErrRefused, m.Peer)
	case live < majority:
		return fmt.Errorf("%w: without %s, %d of the %d voters that remain answer, and a majority is %d: bring nodes back or add some first",
			ErrRefused, m.Peer, live, voters, majority)
	case !force && n.alive(m.ID) && live == majority && voters > 1:
		return fmt.Errorf("%w: %s works, and without it the cluster would stand no further loss: add a node first, or force it", ErrRefused, m.Peer)
	}
	return nil
}

// Transfer hands this leader's office to the member with that id or name; to
// the most up-to-date one when it is empty.
func (n *Node) Transfer(ctx context.Context, to string) error {
	r := n.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return ErrNotLeader
	}
	future := raft.Future(nil)
	if to == "" {
		future = r.LeadershipTransfer()
	} else {
		m, err := n.find(to)
		switch {
		case err != nil:
			return err
		case m.ID == n.self.ID:
			return nil
		case !m.Voter:
			return fmt.Errorf("%w: %s is not a voter", ErrRefused, m.Peer)
		}
		future = r.LeadershipTransferToServer(raft.ServerID(m.ID), m.raftAddress())
	}
	err := n.await(ctx, changePatience, future)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	}
	return fmt.Errorf("%w: the office was not handed over: %w", ErrRefused, err)
}

// Leader returns the leader that this node knows.
func (n *Node) Leader() (Peer, bool) {
	r := n.raft.Load()
	if r == nil {
		return Peer{}, false
	}
	address, _ := r.LeaderWithID()
	if address == "" {
		return Peer{}, false
	}
	p, err := parsePeer(address)
	return p, err == nil
}
