// Package state is the cluster's replicated state on one node: fsm.State, kept
// by a raftnode.Node, with types in place of bytes.
//
// It promises that every command carries the cluster's time; that what a node
// applies reaches each of its subscribers once and in order, or that they are
// told that something was lost; that Read shows everything that was acknowledged
// before it; and that a node which meets a command it does not understand stops
// instead of differing from the others.
//
// It decides nothing, holds no truth of its own, and never repeats a command: an
// unknown outcome is reported as one.
package state
