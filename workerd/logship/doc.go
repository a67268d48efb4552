// Package logship sends the logs of a worker's spool to the cluster's leader,
// all over one stream. It promises that every log reaches the leader whole, in
// order and by offset, whatever streams break or leaders change on the way; that
// one huge log does not starve small ones; and that a log leaves the spool only
// when the leader says that it is sealed, or that nobody will ever want it.
//
// It does not find the leader: its caller's Dial does. It never waits for a log
// to be complete before it sends what there is.
package logship
