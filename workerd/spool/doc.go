// Package spool keeps the logs of a worker's attempts on its own disk until the
// cluster has sealed them. It promises that a log outlives the worker process:
// every Write that returned is read again after a crash or a kill, with the same
// offsets, and a finished log keeps its length and digest. A crash of the whole
// machine may cost what was written in the last SyncEvery; a log damaged that
// way is found at Open and ends with a line that says so.
//
// The total is bounded: over the budget, and on a full disk, no log begins and the
// growing ones are cut off with a line that says so, for which every log keeps
// room. Nothing that is already spooled is lost. The package sends nothing anywhere
// and decides nothing about when a log may go; see package logship.
package spool
