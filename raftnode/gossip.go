package raftnode

type gossip struct{}

func (n *Node) startGossip() (*gossip, error) { return &gossip{}, nil }

func (g *gossip) stop() {}

func (n *Node) gossipHealth(m Member) Health { return m.Health }
