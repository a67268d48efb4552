// Package journal is a worker's memory on disk of the leases it was given: which
// numbers it has seen, which have ended with a result that the cluster has not
// acknowledged yet, and which are over.
//
// It promises that a lease for which Wait returned nil is known after any crash,
// so that its number is never started twice, and that a result for which Finish
// returned nil is delivered after any crash. It also promises to open whatever a
// crash or a full disk left behind. It refuses to know what a job is, to talk to
// anyone, and to start a goroutine: whoever needs the disk first writes for all.
package journal
