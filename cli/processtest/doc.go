// Package processtest holds tests of the whole product as its users meet it:
// every node, worker and command is a process of its own, with TLS, real disks
// and real signals, and at the end a ledger says whether a promise was broken.
// It has no code but tests; it refuses to look inside of a process.
package processtest
