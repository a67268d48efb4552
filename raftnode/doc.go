// Package raftnode is one member of a Raft cluster for any state machine.
//
// It promises that a command whose proposal was acknowledged is on disk on a
// majority and will be applied, in one order, by every node; that at most one
// node is in office at a time, and that its office is a context which ends with
// it; that a cluster is made once, and that nodes of different clusters never
// talk; and that a disk that hangs costs a leader its office, never the cluster
// its data.
//
// It knows nothing of what the commands mean, decides nothing about who may
// call it, and never repeats a command by itself: an unknown outcome is
// reported as one.
package raftnode
