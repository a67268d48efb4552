// Package fsm is the replicated state: pools, jobs, queues, leases, workers,
// clients, capabilities and request keys. Commands go in, results and events
// come out.
//
// It promises that the same commands in the same order give the same state, the
// same results and the same snapshot bytes on every node, however they were
// split into log entries; that every refusal leaves the state as it was, but for
// the passing of time; and that a State costs O(log n) a command and O(1) a copy.
//
// It is pure. It has no goroutine, clock, random number, logger, metric, file or
// socket: time comes with the commands, ids from counters in the state. It
// decides nothing (which worker, when a lease is over, what to trim): it checks
// what the leader decided, and does it or refuses.
//
// A State is not safe for concurrent use: Apply, Restore and Clone need it alone,
// all else may run side by side. A Clone is independent of its original and may
// be read while that changes. Every record that the queries return is
// immutable: a change stores a new one, so a record may be kept and read without
// a lock, and must never be written to.
package fsm
