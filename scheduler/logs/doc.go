// Package logs moves build logs on a node: from workers into the leader's log
// store, from there to other nodes as the bytes come, and to readers from
// whichever node has them.
//
// It promises that a log is sealed only once a majority of nodes has all of it on
// disk, with the digest that the worker gave; that a sealed log is never
// overwritten; that a reader gets each byte once and in order, from any node, and
// is never told that a log is complete when it is not; and that a log which too
// few members hold is copied again.
//
// It decides nothing about jobs, keeps no bytes in the replicated state, and
// acts for a worker only on logs whose lease that worker holds or held.
package logs
